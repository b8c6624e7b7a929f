"""Held-out videos: groups are on one side, and each class keeps its share."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.manifests.manifest import Manifest
from vidpipe.pipeline.manifests.splitting import both_sides_words, choose_grouped, groups_on_both_sides
from vidpipe.pipeline.manifests.videos import Video, Videos
from vidpipe.pipeline.training.learning_split import held_out_ids, hold_out, shared_groups_words


def manifest(groups: int, *, classes: int = 3, takes: int = 4, **own: str) -> Manifest:
    """Return videos of some people, each of whom shows every class several times."""
    return Manifest(
        Video(
            video_id=f"{label}-{group}-{take}",
            path=Path(f"/v/{label}-{group}-{take}"),
            labels=(f"class {label}",),
            split="train",
            written_path="x",
            columns={"group": f"person {group}", **own},
        )
        for label in range(classes)
        for group in range(groups)
        for take in range(takes)
    )


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_group_is_on_one_side_and_shares_are_kept(fraction, seed):
    videos = manifest(20)
    training, held = hold_out(videos, usable=range(len(videos)), fraction=fraction, seed=seed)
    sides = [{videos.videos[i].group for i in side} for side in (training, held)]
    assert not sides[0] & sides[1]
    assert len(training) + len(held) == len(videos)
    for label in videos.classes:
        own = [videos.videos[i] for i in held if videos.videos[i].labels == (label,)]
        assert abs(len(own) - 80 * fraction) <= 4  # of one group
    assert hold_out(videos, usable=range(len(videos)), fraction=fraction, seed=seed + 9)[1] != held


@given(
    members=st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 20).map(str), min_size=1), min_size=1),
    groups=st.dictionaries(st.integers(0, 20).map(str), st.sampled_from(["", "g", "h", "i"])),
    fraction=st.floats(0, 0.99),
)
def test_no_class_loses_its_last_video_and_no_group_is_cut(members, groups, fraction):
    chosen = choose_grouped(members, groups=groups, test_fraction=fraction, key="k")
    assert all(own - chosen for own in members.values())
    everything = set[str]().union(*members.values())
    for group in ("g", "h", "i"):
        own = {name for name in everything if groups.get(name) == group}
        assert own <= chosen or not own & chosen
    if fraction == 0:
        assert not chosen


def test_of_two_large_groups_one_is_held_out():
    names = [str(i) for i in range(20)]
    groups = {name: "left" if int(name) < 9 else "right" for name in names}
    assert choose_grouped({"a": names}, groups=groups, test_fraction=0.2, key="") == set(names[:9])


def test_without_groups_the_choice_is_as_ever():
    ids = {"a": [f"a{i}" for i in range(9)], "b": [f"b{i}" for i in range(9)]}
    none = dict.fromkeys([*ids["a"], *ids["b"]], "")
    assert held_out_ids(ids, fraction=0.3, key="k", groups=none) == held_out_ids(ids, fraction=0.3, key="k")
    assert len(held_out_ids(ids, fraction=0.3, key="k")) == 6


def test_one_group_a_class_cannot_be_held_out():
    with pytest.raises(SettingsError, match="no group of training videos can be held out"):
        hold_out(manifest(1), usable=range(12), fraction=0.2, seed=0)


def test_groups_on_both_sides_are_told():
    shared = groups_on_both_sides(["g", "g", "h", "h", "", "", "i"], ["train", "test", "t", "t", "a", "b", None])
    assert shared == {"g": ("test", "train")}
    assert both_sides_words(shared).startswith(
        "1 group has videos in more than one split (test, train): 'g'. Videos of"
    )
    many = {f"g{i}": ("a", "b") for i in range(7)}
    assert both_sides_words(many).startswith("7 groups have videos in more than one split (a, b): 'g0', ")
    assert "'g4' and 2 more" in both_sides_words(many)


def test_training_tells_groups_that_its_split_shares():
    videos = manifest(3, classes=2, takes=1)
    assert shared_groups_words(videos, split="train") == ""
    splits = {name: "test" if name.endswith("1-0") else "train" for name in videos.videos.cells("video_id")}
    assert shared_groups_words(videos, split="train", splits=splits) == ""
    splits["0-1-0"] = "train"
    words = shared_groups_words(videos, split="train", splits=splits)
    assert words.startswith("1 group has videos in more than one split (test, train): 'person 1'.")
    assert shared_groups_words(videos, split="val", splits=splits) == ""
    bare = Videos.of(Video(video_id="a", path=Path("/a"), labels=(), split="x", written_path="a") for _ in "a")
    assert shared_groups_words(Manifest(bare), split="x") == ""
