"""What networks and whole settings cost, and the papers' tables of costs."""
