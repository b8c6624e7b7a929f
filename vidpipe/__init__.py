"""Classify a lot of video without running a big network on every second of it."""
