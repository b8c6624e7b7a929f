"""The names that other programs give to the tensors of our networks, a module a family."""
