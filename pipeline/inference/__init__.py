"""From stored or live feature maps to predictions."""
