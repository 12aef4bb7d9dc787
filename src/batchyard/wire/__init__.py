"""AWS protocols driven by the botocore models."""
