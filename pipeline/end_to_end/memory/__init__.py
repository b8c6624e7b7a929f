"""How much memory a training step takes, estimated without running it, and how much there is."""
