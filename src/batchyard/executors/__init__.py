"""Drivers that start, stop, watch and recover attempts."""
