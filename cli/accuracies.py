"""How accuracies, their intervals and comparisons are written for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SHOWN, _SHOWN_RUNS = 8, 4  # names of classes and of runs in a sentence
_UNDECIDED = "it cannot be told from"
_LEVEL = 0.05  # of tests
_MOST_WITHOUT_TOP5 = 10  # classes: among so few, the five highest say little


def accuracy_names(num_classes: int) -> dict[str, str]:
    """Return the accuracies that tables show, as figure's name -> column's title; top-5 only among many classes."""
    names = {"top1": "top-1 %", "top5": "top-5 %", "mean_class_accuracy": "class mean %"}
    return {name: title for name, title in names.items() if name != "top5" or num_classes > _MOST_WITHOUT_TOP5}


def accuracy_text(metrics: Mapping[str, Any], name: str) -> str:
    """Return an accuracy in % with its interval in brackets if it has one."""
    value, interval = f"{100 * metrics[name]:.1f}", metrics.get(f"{name}_interval")
    return f"{value} {interval_text(interval)}" if interval else value


def interval_text(interval: Mapping[str, Any]) -> str:
    """Return an interval in %, in brackets."""
    return f"[{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def baseline_rows(
    baselines: Iterable[Mapping[str, Any]], names: Iterable[str], *, all_runs: int
) -> list[tuple[str, list[str], str]]:
    """Return for each baseline its name, its accuracies and how many videos it is scored on.

    A baseline that does not apply to ``all_runs`` runs says to which it does.
    """
    names, rows = list(names), []
    for own in baselines:
        label = own["name"]
        if len(own["runs"]) < all_runs:
            label = f"{label} of {_listing(own['runs'])}"
        rows.append((label, [accuracy_text(own, name) for name in names], str(own["num_scored"])))
    return rows


INTERVAL_NOTE = (
    "[ ]: 95 % intervals over videos: what the same classifiers would reach on very many such videos (Wilson)."
)


def class_lines(runs: Iterable[Mapping[str, Any]], split: str) -> list[str]:
    """Return lines on classes that no scored video shows, and on videos of classes that runs do not know."""
    absent: dict[tuple[str, ...], int] = {}
    unknown: dict[str, list[str]] = {}
    for run in runs:
        absent.setdefault(tuple(run["absent_classes"]), len(run["metrics"]["classes"]))
        if run["unknown_classes"]:
            unknown.setdefault(_unknown_text(run), []).append(run["name"])
    lines = [
        f"{split!r} shows {total - len(names):,} of the {total:,} classes, without {_listing(list(map(repr, names)))}; "
        f"class mean % is over the {total - len(names):,} that occur."
        for names, total in absent.items()
        if names
    ]
    return lines + [f"{_listing(names)}: {text}" for text, names in unknown.items()]


def _unknown_text(run: Mapping[str, Any]) -> str:
    names = [repr(name) for name in run["unknown_classes"]]
    number, total = sum(run["unknown_classes"].values()), run["metrics"]["num_scored"]
    return (
        f"{number:,} of the {total:,} scored videos are of classes that training did not show ({_listing(names)}); "
        "they are counted wrong."
    )


def numbered_line(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return a line on the names that pictures write as numbers; '' if there are none."""
    numbers = {number: name for run in runs for number, name in run["numbered_classes"].items()}
    if not numbers:
        return ""
    legend = _listing([f"no. {number} is {name!r}" for number, name in numbers.items()])
    return f"No font here draws some names, so pictures have their numbers in classes.csv: {legend}."


def comparison_line(comparisons: Sequence[Mapping[str, Any]], accuracies: Mapping[str, float]) -> str:
    """Return one sentence on how the best of some runs compares with the others on the same videos; '' without any.

    Args:
        comparisons: of pairs of runs, as in the document.
        accuracies: run -> top-1 accuracy; of equals the first is named.
    """
    best = max(accuracies, key=lambda name: accuracies[name], default="")
    own = [pair for pair in comparisons if best in (pair["first"], pair["second"])]
    if not own:
        return ""
    groups: dict[str, dict[str, float]] = {"it is better than": {}, "it is worse than": {}, _UNDECIDED: {}}
    for pair in own:
        ahead, behind = pair["only_first_right"], pair["only_second_right"]
        if pair["second"] == best:
            ahead, behind = behind, ahead
        verdict = _UNDECIDED if pair["p_value_holm"] > _LEVEL else [*groups][ahead < behind]
        groups[verdict][pair["second"] if pair["first"] == best else pair["first"]] = pair["p_value_holm"]
    words = [
        f"{verdict} {_listing([*found], most=_SHOWN_RUNS)} ({_p_text([*found.values()])})"
        for verdict, found in groups.items()
        if found
    ]
    several = f", Holm over {len(comparisons)} pairs" if len(comparisons) > 1 else ""
    videos = {pair["num_videos"] for pair in own}
    count = f"{min(videos):,}" if len(videos) == 1 else f"{min(videos):,} to {max(videos):,}"
    place = "the highest" if [*accuracies.values()].count(accuracies[best]) == 1 else "as high as any"
    return f"{best} is {place}; on the same {count} videos {'; '.join(words)} (exact McNemar test{several})."


def _p_text(values: Sequence[float]) -> str:
    """Return p-values as a range, to two digits."""
    low, high = (_p_number(value) for value in (min(values), max(values)))
    if low == high:
        return f"p {low}" if low.startswith("<") else f"p = {low}"
    return f"p {low} to {high}" if low.startswith("<") else f"p = {low} to {high}"


def _p_number(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _listing(names: Sequence[str], *, most: int = _SHOWN) -> str:
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
