"""How much memory a training step takes, foreseen without running it, and how much there is."""
