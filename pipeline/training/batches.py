"""Batches: the order in which samples are visited, and threads that make them ahead of time."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ..seeds import derived_seed
from .distributed import local_processes

Key = TypeVar("Key")
Item = TypeVar("Item")


def decoding_threads(asked: int | None) -> int:
    """Return how many threads should decode videos: as many as ``asked``, or this process's share of the cores."""
    return max(1, (os.cpu_count() or 1) // local_processes()) if asked is None else asked


def shuffled_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the indices 0 … count-1 in batches, in an order of (seed, epoch); a single left-over joins the last batch.

    Batch norm cannot normalise a single clip whose map is one position wide.
    """
    order = np.random.default_rng(derived_seed(seed, "order", epoch)).permutation(count).tolist()
    batches = [order[i : i + batch_size] for i in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        alone = batches.pop()
        batches[-1] += alone
    return batches


def prefetched(
    make: Callable[[Key], Item], batches: Iterable[Sequence[Key]], *, workers: int, ahead: int = 3
) -> Generator[list[Item], None, None]:
    """Yield ``[make(key) for key in batch]`` for each batch, in order, made by threads up to ``ahead`` batches early.

    Decoding and resizing release the interpreter's lock, so threads do them in parallel with training.
    """
    if workers < 1:
        for batch in batches:
            yield [make(key) for key in batch]
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="clips") as pool:
        waiting = deque()
        try:
            for batch in batches:
                waiting.append([pool.submit(make, key) for key in batch])
                if len(waiting) > ahead:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            # If training stops early, the pool's end must not wait for clips that nobody will use.
            for future in itertools.chain.from_iterable(waiting):
                future.cancel()
