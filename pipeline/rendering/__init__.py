"""A set of videos with known bounds, drawn by the program."""
