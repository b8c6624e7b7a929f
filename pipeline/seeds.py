"""Seeds that depend on what they are for, and on nothing else."""

import hashlib

NUMBER_OF_SEEDS = 2**63  # torch and numpy both take seeds below it


def derived_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on ``parts`` alone, the same on every machine and in every process."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % NUMBER_OF_SEEDS
