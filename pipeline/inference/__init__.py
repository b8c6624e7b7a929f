"""From feature maps, stored or computed on the spot, to predictions."""
