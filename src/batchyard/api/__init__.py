"""One module per noun: wire dict to command or query, and back."""
