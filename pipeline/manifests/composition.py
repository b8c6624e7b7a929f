"""What a manifest is made of: classes and splits with their counts, names that look alike, groups on both sides."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .headers import GROUP
from .splitting import groups_on_both_sides
from .videos import Videos


@dataclass(frozen=True, kw_only=True, slots=True)
class LookAlike:
    """Different names that a reader would take for one.

    Attributes:
        column: "label", "split" or "group".
        names: name -> number of videos, the most frequent first.
        differ_in: what tells them apart, such as "case".
    """

    column: str
    names: Mapping[str, int]
    differ_in: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Composition:
    """What a manifest is made of.

    Attributes:
        classes: label -> split -> number of videos, both sorted; 0 where a class has none.
        splits: split -> number of videos, sorted.
        unlabelled: number of videos without a label.
        look_alikes: names that look alike.
        shared_groups: group -> its splits, for groups on more than one side.
        own_columns: the names of the user's own columns.
    """

    classes: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, int]
    unlabelled: int
    look_alikes: tuple[LookAlike, ...]
    shared_groups: Mapping[str, tuple[str, ...]]
    own_columns: tuple[str, ...]

    @property
    def totals(self) -> dict[str, int]:
        """Label -> number of videos."""
        return {label: sum(own.values()) for label, own in self.classes.items()}


def composition(videos: Videos) -> Composition:
    """Return what a manifest's videos are made of."""
    pairs = np.stack([videos.label_codes, videos.split_codes], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (pairs, np.zeros(0, np.int64))
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    splits: Counter[str] = Counter()
    unlabelled = 0
    for (label_code, split_code), count in zip(found.tolist(), counts.tolist(), strict=True):
        labels, split = videos.label_sets[label_code], videos.split_names[split_code]
        splits[split] += count
        unlabelled += 0 if labels else count
        for label in labels:
            classes[label][split] += count
    groups = videos.groups() if GROUP in videos.own_names else []
    totals = {label: own.total() for label, own in classes.items()}
    group_counts = Counter(group for group in groups if group)
    return Composition(
        classes={label: {split: classes[label][split] for split in sorted(splits)} for label in sorted(classes)},
        splits=dict(sorted(splits.items())),
        unlabelled=unlabelled,
        look_alikes=(
            *look_alikes(totals, column="label"),
            *look_alikes(splits, column="split"),
            *look_alikes(group_counts, column=GROUP),
        ),
        shared_groups=groups_on_both_sides(groups, videos.cells("split")) if groups else {},
        own_columns=videos.own_names,
    )


def look_alikes(counts: Mapping[str, int], *, column: str) -> Sequence[LookAlike]:
    """Return names that differ only in what is hard to see, or easy to mistype.

    That is their Unicode form (NFC, NFD, and compatible ones such as full-width letters), invisible characters, case,
    blanks, ``_`` and ``-`` in the place of blanks, and a dot at the end. Letters of other scripts that look the same,
    as the Cyrillic a, are not found.

    Args:
        counts: name -> number of videos.
        column: that the names are of.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in counts:
        alike[_skeleton(name)].append(name)
    found = []
    for names in alike.values():
        if len(names) > 1:
            ordered = sorted(names, key=lambda name: (-counts[name], name))
            found.append(LookAlike(column=column, names={n: counts[n] for n in ordered}, differ_in=_differences(names)))
    return sorted(found, key=lambda own: next(iter(own.names)))


def shown(name: str) -> str:
    """Return a name in quotes, with escapes for all but ASCII, so that what is invisible shows."""
    return ascii(name)


def _compatible(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _without_invisible(name: str) -> str:
    # Format characters (zero-width, direction, byte order mark), variation selectors, and the soft hyphen.
    return "".join(c for c in name if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")


def _with_plain_blanks(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip()


def _with_blanks_for_signs(name: str) -> str:
    return re.sub(r"[\s_\-\u2010-\u2015]+", " ", name).strip()


def _without_end(name: str) -> str:
    return name.rstrip(". ")


_STEPS = (  # in this order; each takes one kind of difference away
    ("Unicode form", _compatible),
    ("invisible characters", _without_invisible),
    ("case", str.casefold),
    ("blanks", _with_plain_blanks),
    ("'_' or '-' for blanks", _with_blanks_for_signs),
    ("a dot at the end", _without_end),
)


def _skeleton(name: str) -> str:
    for _, step in _STEPS:
        name = step(name)
    # Folding case and taking away what is invisible may leave letters that compose.
    return _compatible(name) or name


def _differences(names: Iterable[str]) -> tuple[str, ...]:
    """Return which of the steps make names equal that were not."""
    left, found = set(names), list[str]()
    for what, step in _STEPS:
        now = {step(name) for name in left}
        if len(now) < len(left):
            found.append(what)
        left = now
    return tuple(found) or ("Unicode form",)
