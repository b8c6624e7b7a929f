"""Train and score many aggregators on one store."""
