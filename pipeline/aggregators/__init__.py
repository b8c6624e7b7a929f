"""Aggregators, by name."""
