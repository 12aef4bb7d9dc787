"""One module per noun; each function is one command. They return nothing: faults carry codes."""
