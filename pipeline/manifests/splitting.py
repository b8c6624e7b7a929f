"""Which videos are held out, for testing or for choosing the best epoch: by hashing, class by class, groups whole."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

_SHOWN = 5  # groups named in a message


def choose_test(names: Sequence[str], *, test_fraction: float, key: str) -> frozenset[str]:
    """Return which of a class's names are for testing: the first ones when sorted by their hashes with ``key``."""
    number = _wanted(len(names), test_fraction)
    return frozenset(sorted(names, key=lambda name: _rank(key, name))[:number])


def choose_grouped(
    members: Mapping[str, Iterable[str]], *, groups: Mapping[str, str], test_fraction: float, key: str
) -> frozenset[str]:
    """Return which names are for testing, so that no group is on both sides.

    Groups are taken in the order of their hashes, each if that brings the classes' shares nearer to what is asked. Then
    each class that has none yet gets its smallest group, where others remain. No class loses its last name.

    Args:
        members: class -> its names; a name may be in several classes.
        groups: name -> its group; a name without one, or with "", stands alone.
        test_fraction: of each class.
        key: another one draws others.
    """
    sizes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # group -> class -> names
    of_group: dict[tuple[str, str], set[str]] = defaultdict(set)
    totals = {label: len(set(own)) for label, own in members.items()}
    for label, own in members.items():
        for name in set(own):
            group = ("group", groups[name]) if groups.get(name) else ("alone", name)
            sizes[group][label] += 1
            of_group[group].add(name)
    wanted = {label: _wanted(total, test_fraction) for label, total in totals.items()}
    held: Counter[str] = Counter()
    chosen: list[tuple[str, str]] = []
    order = sorted(sizes, key=lambda group: _rank(key, "\0".join(group)))

    def take(group: tuple[str, str]) -> None:
        chosen.append(group)
        held.update(sizes[group])

    def leaves_some(group: tuple[str, str]) -> bool:
        return all(held[label] + number < totals[label] for label, number in sizes[group].items())

    for group in order:
        gain = sum(
            abs(held[label] - wanted[label]) - abs(held[label] + number - wanted[label])
            for label, number in sizes[group].items()
        )
        if gain > 0 and leaves_some(group):
            take(group)
    for label in sorted(members):
        own = [group for group in order if label in sizes[group] and leaves_some(group)]
        if wanted[label] and not held[label] and own:
            take(min(own, key=lambda group: sizes[group].total()))
    return frozenset[str]().union(*(of_group[group] for group in chosen))


def groups_on_both_sides(groups: Iterable[str], splits: Iterable[str | None]) -> dict[str, tuple[str, ...]]:
    """Return group -> the splits that it has videos in, for those groups that have more than one.

    Args:
        groups: of each video; "" for none.
        splits: of each video; None for none.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for group, split in set(zip(groups, splits, strict=True)):
        if group and split is not None:
            found[group].add(split)
    return {group: tuple(sorted(own)) for group, own in sorted(found.items()) if len(own) > 1}


def both_sides_words(shared: Mapping[str, tuple[str, ...]]) -> str:
    """Return a sentence about groups that are on both sides of a split."""
    splits = sorted({split for own in shared.values() for split in own})
    shown = ", ".join(map(repr, list(shared)[:_SHOWN])) + (
        f" and {len(shared) - _SHOWN:,} more" * (len(shared) > _SHOWN)
    )
    what = "1 group has" if len(shared) == 1 else f"{len(shared):,} groups have"
    return (
        f"{what} videos in more than one split ({', '.join(splits)}): {shown}. Videos of one group are alike, so "
        "scores on such a split promise too much"
    )


def _wanted(number: int, fraction: float) -> int:
    """Return how many of a class's names to hold out: none of one, else at least one, and never all."""
    return 0 if fraction == 0 or number < 2 else min(max(round(number * fraction), 1), number - 1)


def _rank(key: str, name: str) -> bytes:
    # File names need not be valid UTF-8; surrogates stand for the bytes that are not.
    return hashlib.sha256(f"{key}\0{name}".encode("utf-8", "surrogateescape")).digest()
