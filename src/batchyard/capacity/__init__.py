"""Providers of the instances that jobs are placed on."""
