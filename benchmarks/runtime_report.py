"""What the timings of benchmarks/runtime.py come to: medians, ratios, and where time does not follow GMACs."""

import statistics
from collections.abc import Sequence

WALL, CPU = "seconds", "CPU seconds"  # the second is of the processor: other work makes it longer, but not much
Seconds = dict[tuple[str, str], float]  # clock, part -> seconds over all videos
Timings = dict[str, Seconds]  # by setting

PARTS = ("decoding", "cheap", "expensive", "aggregator")
PAPER = {"all cheap": (15.1, 101.3), "all expensive": (75.7, 959.3), "FASTER32": (35.3, 550.4)}  # Table 5: s, GMACs
PAIRS = (("all cheap", "all expensive"), ("FASTER32", "all expensive"), ("FASTER32", "all cheap"))
PER_VIDEOS = 100  # the table gives seconds for so many
TOLERANCE = 0.1  # of a ratio of times against the ratio of GMACs, before it has to be accounted for


def summarise(
    gmacs: dict[str, dict[str, float]],
    serial: Sequence[Timings],
    overlapped: Sequence[dict[str, float]],
    *,
    num_videos: int,
    clock: str,
) -> dict:
    """Return medians over the repeats, the ratios of times and GMACs, and an account of where they differ.

    Args:
        gmacs: by setting and part, 10^9 multiply-accumulates a video.
        serial: a repeat each, one thing after the other.
        overlapped: a repeat each, wall clock by setting, decoding beside computing.
        num_videos: how many videos the seconds are of.
        clock: by which to account: CPU, or WALL where another device computes.
    """
    scale = PER_VIDEOS / num_videos
    lines = {}
    for name, cost in gmacs.items():
        runs = [timings[name] for timings in serial]
        lines[name] = {
            "gmacs": sum(cost.values()),
            **{clock: scale * statistics.median(total(run, clock) for run in runs) for clock in (WALL, CPU)},
            "seconds_overlapped": scale * statistics.median(run[name] for run in overlapped),
            "parts": {
                part: {clock: scale * statistics.median(run[clock, part] for run in runs) for clock in (WALL, CPU)}
                | {"gmacs": cost.get(part, 0.0)}
                for part in PARTS
                if (WALL, part) in runs[0]
            },
        }
    ratios = [compare(lines, pair, serial) for pair in PAIRS]
    said = [account(lines, pair, ratio, clock) for pair, ratio in zip(PAIRS, ratios, strict=True)]
    return {"settings": lines, "ratios": ratios, "account": [text for text in said if text]}


def total(seconds: Seconds, clock: str) -> float:
    """Return the seconds of all parts of one setting, one after the other."""
    return sum(own for (by, _), own in seconds.items() if by == clock)


def compare(lines: dict[str, dict], pair: tuple[str, str], serial: Sequence[Timings]) -> dict:
    """Return the first setting's GMACs and seconds over the second's; spreads are over the repeats."""
    first, second = (lines[name] for name in pair)
    ratio = {"of": " / ".join(pair), "gmacs": first["gmacs"] / second["gmacs"]}
    for clock in (WALL, CPU):
        each = [total(timings[pair[0]], clock) / total(timings[pair[1]], clock) for timings in serial]
        computing = [own[clock] - own["parts"]["decoding"][clock] for own in (first, second)]
        ratio |= {
            clock: statistics.median(each),
            f"{clock}_spread": [min(each), max(each)],
            f"{clock}_without_decoding": computing[0] / computing[1],
        }
    return ratio | {
        "seconds_overlapped": first["seconds_overlapped"] / second["seconds_overlapped"],
        "paper_seconds": PAPER[pair[0]][0] / PAPER[pair[1]][0],
        "paper_gmacs": PAPER[pair[0]][1] / PAPER[pair[1]][1],
    }


def account(lines: dict[str, dict], pair: tuple[str, str], ratio: dict, clock: str) -> str:
    """Say where the rest goes if the ratio of times is more than a tenth off that of GMACs; else nothing."""
    off, computing = (ratio[name] / ratio["gmacs"] - 1 for name in (clock, f"{clock}_without_decoding"))
    if abs(off) <= TOLERANCE:
        return ""
    shares = [f"{lines[name]['parts']['decoding'][clock] / lines[name][clock]:.0%} of {name}" for name in pair]
    speeds = [f"{name}: {_speeds(lines[name], clock)}" for name in pair]
    return (
        f"{ratio['of']}: {off:+.0%} in {clock} against GMACs. Decoding, the same for both, is {' and '.join(shares)}; "
        f"without it {computing:+.0%}. The rest is speed, in GMAC/s: {'; '.join(speeds)}."
    )


def _speeds(line: dict, clock: str) -> str:
    """Return how fast each part computes."""
    parts = {name: own for name, own in line["parts"].items() if own["gmacs"] > 0}
    return ", ".join(f"{name} {PER_VIDEOS * own['gmacs'] / own[clock]:.0f}" for name, own in parts.items())


def markdown(document: dict) -> str:
    """Return the document as the Markdown of benchmarks/RESULTS.md."""
    header = (
        "",
        "GMAC a video",
        "paper",
        "wall",
        "CPU",
        "paper",
        "decoding beside",
        *(f"{part}, CPU" for part in PARTS),
    )
    ratios = ("ratio", "GMACs", "wall", "of repeats", "CPU", "of repeats", "CPU without decoding", "decoding beside")
    lines = [_seconds_row(name, line) for name, line in document["settings"].items()]
    rows = [_ratio_row(ratio) for ratio in document["ratios"]]
    parts = [*_table(header, lines), "", *_table((*ratios, "paper: GMACs", "paper: time"), rows)]
    return "\n".join([*parts, "", *document["account"]])


def _seconds_row(name: str, line: dict) -> list[str]:
    paper_seconds, paper_gmacs = PAPER[name]
    parts = [f"{line['parts'][part][CPU]:.1f}" if part in line["parts"] else "" for part in PARTS]
    times = [f"{line[WALL]:.1f}", f"{line[CPU]:.1f}", f"{paper_seconds}", f"{line['seconds_overlapped']:.1f}"]
    return [name, f"{line['gmacs']:.1f}", f"{paper_gmacs}", *times, *parts]


def _ratio_row(ratio: dict) -> list[str]:
    times = []
    for clock in (WALL, CPU):
        times += [f"{ratio[clock]:.3f}", " to ".join(f"{value:.3f}" for value in ratio[f"{clock}_spread"])]
    names = (f"{CPU}_without_decoding", "seconds_overlapped", "paper_gmacs", "paper_seconds")
    return [ratio["of"], f"{ratio['gmacs']:.3f}", *times, *(f"{ratio[name]:.3f}" for name in names)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
