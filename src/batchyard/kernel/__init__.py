"""Pure domain: values, state machines and the rules of AWS Batch. No clock, ids, I/O, logging."""
