"""How good predictions are, in numbers and pictures: metrics, intervals, probes, plots."""
