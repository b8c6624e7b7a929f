"""Train a clip backbone from scratch."""
