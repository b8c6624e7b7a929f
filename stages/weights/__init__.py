"""Published weights: list, inspect, fetch and convert them, and make them ready for other stages."""
