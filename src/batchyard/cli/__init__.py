"""Commands for people and scripts; no logic."""
