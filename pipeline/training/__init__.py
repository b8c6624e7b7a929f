"""Training: one loop for all networks, run directories, batches, and which videos teach."""
