"""CloudWatch-Logs-shaped streams in append-only files."""
