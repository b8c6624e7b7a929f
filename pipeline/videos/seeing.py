"""Seeing the pictures of a video as they are decoded: a few at a time, since resizing one alone costs half more."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch

from .transforms import Look

# So many pictures are resized in one go, unless they are so large that doing so gains nothing.
_MOST_TOGETHER = 8
_MOST_BYTES = 8_000_000

_Key = TypeVar("_Key")


def seen_together(pictures: Iterable[tuple[_Key, Look, np.ndarray]]) -> Iterator[tuple[_Key, torch.Tensor]]:
    """Yield each picture as its look sees it; the order is another. Results are those of one picture at a time.

    Args:
        pictures: for each a key that goes with it, its look, and (H, W, 3) uint8; sizes may differ.

    Yields:
        The key, and (crop, crop, 3) uint8.
    """
    waiting: dict[Hashable, list[tuple[_Key, Look, np.ndarray]]] = defaultdict(list)
    num_bytes = 0
    for key, look, picture in pictures:
        alike = waiting[look, picture.shape]
        alike.append((key, look, picture))
        num_bytes += picture.nbytes
        if len(alike) == _MOST_TOGETHER or num_bytes >= _MOST_BYTES:
            due = [alike] if num_bytes < _MOST_BYTES else list(waiting.values())
            for own in due:
                num_bytes -= sum(picture.nbytes for _, _, picture in own)
                yield from _seen(own)
                own.clear()
    for alike in waiting.values():
        yield from _seen(alike)


def _seen(alike: list[tuple[_Key, Look, np.ndarray]]) -> Iterator[tuple[_Key, torch.Tensor]]:
    """Yield what `seen_together` does of pictures with one look and size."""
    if alike:
        look, pictures = alike[0][1], [picture for _, _, picture in alike]
        seen = look(pictures[0][None] if len(pictures) == 1 else np.stack(pictures))
        yield from zip((key for key, _, _ in alike), seen, strict=True)
