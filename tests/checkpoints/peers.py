"""Keys, shapes and scores of the sources' own networks, on weights and clips that a formula gives.

The files in ``tests/goldens/peers`` were made by running the sources' unchanged code in float64; they hold names,
shapes and numbers alone. Each float tensor is seeded by its own key.
"""

import gzip
import hashlib
import json
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "goldens" / "peers"


@cache
def golden(name: str) -> dict[str, Any]:
    with gzip.open(FOLDER / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def value(key: str, shape: tuple[int, ...], rescale=()) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    rng = np.random.Generator(np.random.PCG64(seed))
    if key.endswith("running_var"):
        drawn = rng.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        drawn = rng.standard_normal(shape) * 0.1
    elif len(shape) <= 1:
        drawn = rng.uniform(0.5, 1.5, shape)
    else:
        drawn = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    factor = np.prod([own for pattern, own in rescale if re.search(pattern, key)])
    return np.asarray(drawn).astype(np.float32) * np.float32(factor)


@lru_cache(maxsize=1)  # tests of one golden follow each other
def state_of(name: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a golden, as its source spells it."""
    own = golden(name)
    state = {}
    for key, (shape, dtype) in own["keys"].items():
        filled = value(key, tuple(shape), own["rescale"]) if dtype.startswith("float") else np.zeros(shape, np.int64)
        state[key] = torch.from_numpy(np.ascontiguousarray(filled)).reshape(shape)
    return state


def clip(frames: int, size: int) -> torch.Tensor:
    rng = np.random.Generator(np.random.PCG64(7))
    return torch.from_numpy(rng.standard_normal((1, 3, frames, size, size)).astype(np.float32))
