"""The library: nouns and pure functions, usable from a notebook."""
