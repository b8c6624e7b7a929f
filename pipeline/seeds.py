"""Seeds that depend only on what they are for."""

import hashlib

NUMBER_OF_SEEDS = 2**63  # torch and numpy both take seeds below it


def derived_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends only on ``parts``, the same on every machine and in every process."""
    # Not hash(), which is salted per process; and separated, so that (1, 23) and (12, 3) differ.
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % NUMBER_OF_SEEDS
