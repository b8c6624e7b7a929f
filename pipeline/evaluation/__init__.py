"""Figures and pictures of what was learnt: metrics, intervals, probes, plots."""
