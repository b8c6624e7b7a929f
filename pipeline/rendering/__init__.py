"""A set of videos, drawn by the program, for which the best possible accuracies are known."""
