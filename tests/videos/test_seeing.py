"""Pictures that are resized together come out as they do one by one."""

import numpy as np
import pytest
import torch

from vidpipe.pipeline.videos import seeing
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.seeing import seen_together
from vidpipe.pipeline.videos.transforms import Look, central_look, random_look

SMALL = Preprocessing(short_side=36, crop=32)


def pictures(count: int) -> list[tuple[int, Look, np.ndarray]]:
    rng = np.random.default_rng(0)
    looks = [central_look(SMALL), random_look((90, 60), SMALL, rng)]
    shapes = [(60, 90, 3), (60, 64, 3)]
    return [
        (key, looks[key % 2], rng.integers(0, 256, shapes[rng.integers(2)], dtype=np.uint8)) for key in range(count)
    ]


@pytest.mark.parametrize("most_bytes", [1, 40_000, 8_000_000])
def test_each_is_seen_as_it_would_be_alone(monkeypatch, most_bytes):
    monkeypatch.setattr(seeing, "_MOST_BYTES", most_bytes)
    given = pictures(45)
    seen = list(seen_together(given))
    assert sorted(key for key, _ in seen) == list(range(45))
    for key, own in seen:
        _, look, picture = given[key]
        assert torch.equal(own, look(picture[None])[0])


def test_few_pictures_are_held(monkeypatch):
    monkeypatch.setattr(seeing, "_MOST_BYTES", 40_000)
    taken = 0

    def counted():
        nonlocal taken
        for own in pictures(45):
            taken += 1
            yield own

    for number, _ in enumerate(seen_together(counted())):
        assert taken - number <= 4  # of 16,200 or 11,520 bytes


def test_no_pictures_give_none():
    assert list(seen_together([])) == []
