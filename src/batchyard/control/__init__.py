"""Use cases and loops: the imperative shell around the kernel and the scheduler."""
