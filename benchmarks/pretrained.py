"""What published image networks buy on few videos: EfficientNet-Lite0 and 2, whose weights pip brings.

    python benchmarks/pretrained.py --media $VIDPIPE_TEST_MEDIA --out runs/pretrained --table

UT-Interaction, by scene in both directions and by sequence, and a rendered set. Each set is extracted once; all splits
read that store (`--splits`). Nothing is chosen by test videos: the probe takes the best of its penalties on a fifth of
the training videos; the aggregators have the default recipe, and of several learning rates (`--rates`) the one with the
best mean accuracy on the training videos that their seeds hold out. Beside these stand nearest neighbours on what the
files say of themselves and, by sequence, a small network from scratch, as `benchmarks/small_data.py` trains it on the
other splits. Resumable: what is finished is read again. Prints one JSON document, or with --table Markdown tables.
"""

import argparse
import csv
import functools
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_data import RENDERED, SIZE, baselines_of
from ut_interaction import read_labels

import vidpipe
from vidpipe.pipeline.evaluation.confidence import mean_interval
from vidpipe.pipeline.files import write_atomically

CHEAP, EXPENSIVE, POOLED = "efficientnet_lite0", "efficientnet_lite2", "_t8"
CLIPS, POOL_TIME = 8, 8
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the probe
SCRATCH, SCRATCH_ON = "r2d_14_w16", "by sequence"
# What every aggregator is trained with, beside the defaults.
COMMON: dict[str, Any] = {"width": 256, "precision": "auto"}
UT_SPLITS = ("by scene, set1 to set2", "by scene, set2 to set1", "by sequence")
RENDERED_SPLIT = "short motion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One row of the table: a probe or an aggregator, which clips are expensive, and how many clips there are."""

    name: str
    pattern: str
    clips: int = CLIPS
    is_variant: bool = False  # to see what clips and pattern do: on UT-Interaction alone, at the first learning rate

    @property
    def title(self) -> str:
        """As tables have it."""
        return f"{self.name}, {self.pattern}, {self.clips} clips"

    @property
    def folder(self) -> str:
        """A name for its runs."""
        return f"{self.name}_{self.pattern.replace(':', '_')}_{self.clips}"


PROBES = (
    Method(name="probe", pattern="all-cheap"),
    Method(name="probe", pattern="1:3"),
    Method(name="probe", pattern="all-expensive"),
    Method(name="probe", pattern="all-cheap", clips=4),
    Method(name="probe", pattern="1:3", clips=4),
)
TRAINED = (
    Method(name="multi-clip", pattern="1:3"),
    Method(name="memory", pattern="1:3"),
    Method(name="fast-gru", pattern="1:3"),
    Method(name="memory", pattern="all-cheap", is_variant=True),
    Method(name="memory", pattern="all-expensive", is_variant=True),
    Method(name="memory", pattern="1:3", clips=4, is_variant=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSet:
    """Videos that are extracted once, and the manifests of their splits.

    Attributes:
        name: of the set.
        folder: for its store and runs.
        splits: name -> manifest; the first is the store's own.
        pattern: the widest that its methods need.
    """

    name: str
    folder: Path
    splits: dict[str, Path]
    pattern: str

    @property
    def store(self) -> Path:
        """Its features."""
        return self.folder / "s.zarr"


def main() -> None:
    """Run everything that is asked for, and print what came out."""
    own = arguments()
    runs, extractions = [], []
    for videos in sets_of(own):
        extractions.append({"set": videos.name, **extraction(videos)})
        for split in videos.splits:
            if own.only in f"{videos.name}, {split}":
                runs += [{"set": videos.name, "split": split, **run} for run in one_split(own, videos, split)]
    document = {"settings": {key: str(value) for key, value in vars(own).items()}, "runs": runs}
    document["extractions"] = extractions
    if own.table:
        print(table(runs), extraction_table(extractions), sep="\n\n")
    else:
        print(json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds ut_interaction/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3], help="learning rates to choose from")
    parser.add_argument("--only", default="", help="splits whose name has this in it")
    parser.add_argument("--table", action="store_true", help="print Markdown tables instead of JSON")
    return parser.parse_args()


def sets_of(own: argparse.Namespace) -> Iterator[VideoSet]:
    """Yield the sets with a split that is asked for, rendered where that is not done yet."""
    if any(own.only in f"UT-Interaction, {split}" for split in UT_SPLITS):
        folder = own.out.resolve() / "ut"
        splits = ut_manifests(own.media, folder)
        yield VideoSet(name="UT-Interaction", folder=folder, splits=splits, pattern="all-expensive")
    if own.only in f"rendered, {RENDERED_SPLIT}":
        folder = own.out.resolve() / "rendered"
        vidpipe.render(out=folder / "videos", workers=1, **RENDERED[f"rendered, {RENDERED_SPLIT}"])
        splits = {RENDERED_SPLIT: folder / "videos" / "manifest.csv"}
        yield VideoSet(name="rendered", folder=folder, splits=splits, pattern="1:3")


def ut_manifests(media: Path, folder: Path) -> dict[str, Path]:
    """Write the manifests of the three splits; videos of one sequence are a group, which no hold-out divides."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, other = read_labels(media), {"train": "test", "test": "train"}
    columns = (
        [row["split_by_scene"] for row in rows],
        [other[row["split_by_scene"]] for row in rows],
        [row["split_by_sequence"] for row in rows],
    )
    found = {name: folder / f"split{number}.csv" for number, name in enumerate(UT_SPLITS)}
    for path, column in zip(found.values(), columns, strict=True):
        if not path.exists():  # else another process may be reading it
            write_atomically(path, functools.partial(write_manifest, rows=rows, splits=column, media=media))
    return found


def write_manifest(path: Path, *, rows: list[dict[str, str]], splits: list[str], media: Path) -> None:
    """Write a manifest of UT-Interaction with these splits, one a row of its labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "path", "label", "split", "group"])
        for row, split in zip(rows, splits, strict=True):
            source = (media / "ut_interaction" / row["path"]).resolve()
            writer.writerow([row["path"], source, row["label"], split, f"{row['set']}-{row['sequence']}"])


def extraction(videos: VideoSet) -> dict[str, Any]:
    """Extract a set unless that is done, and return what it took."""
    record = videos.folder / "extraction.json"
    if not record.exists():
        done = vidpipe.extract(
            manifest=next(iter(videos.splits.values())),
            store=videos.store,
            cheap=CHEAP,
            expensive=EXPENSIVE,
            pattern=videos.pattern,
            num_clips=CLIPS,
            pool_time=POOL_TIME,
        )
        figures = {"videos": done.done, "clips": done.num_clips, "gmacs": done.gmacs, "seconds": done.seconds}
        compute = {name: round(seconds, 1) for name, seconds in done.compute_seconds.items()}
        record.write_text(json.dumps({**figures, "decoding": done.decode_seconds, **compute}), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def one_split(own: argparse.Namespace, videos: VideoSet, split: str) -> Iterator[dict[str, Any]]:
    """Yield a record for each method and seed of a split."""
    manifest = videos.splits[split]
    out = videos.folder / manifest.stem
    for baseline in baselines_of(manifest, name=""):
        yield {"method": baseline["method"], "seed": 0, "top1": baseline["top1"], "gmacs": 0.0, "seconds": 0.0}
    if split == SCRATCH_ON:
        yield from (from_scratch(manifest, out, seed=seed) for seed in range(own.seeds))
    for method in PROBES:
        if videos.pattern in ("all-expensive", method.pattern) or method.pattern == "all-cheap":
            yield probed(videos, manifest, out, method)
    for method in TRAINED:
        if method.is_variant and videos.name == "rendered":
            continue
        tried = own.rates[:1] if method.is_variant else own.rates
        found = {
            rate: [trained(videos, manifest, out, method, rate=rate, seed=seed) for seed in range(own.seeds)]
            for rate in tried
        }
        chosen = max(found, key=lambda rate: held_out_accuracy(found[rate]))
        for run in found[chosen]:
            yield {**run, "top1": scored(videos, Path(run["run"])), "rate": chosen}


def held_out_accuracy(runs: list[dict[str, Any]]) -> tuple[float, float]:
    """Return what chooses a learning rate: mean accuracy on held-out training videos, and of equal ones the loss."""
    return statistics.fmean(run["val_accuracy"] for run in runs), -statistics.fmean(run["val_loss"] for run in runs)


def trained(videos: VideoSet, manifest: Path, out: Path, method: Method, *, rate: float, seed: int) -> dict[str, Any]:
    """Train an aggregator on the training videos of a split; its test videos are not looked at."""
    run = out / f"{method.folder}_{rate:g}_seed{seed}"
    done = vidpipe.train_aggregator(
        store=videos.store,
        splits=manifest,
        aggregator=method.name,
        pattern=method.pattern,
        num_clips=method.clips,
        learning_rate=rate,
        seed=seed,
        out=run,
        **COMMON,
    )
    held_out = {name: done.metrics[name] for name in ("val_accuracy", "val_loss")}
    return {
        "method": method.title,
        "seed": seed,
        "gmacs": done.gmacs,
        "seconds": done.seconds,
        "run": str(run),
        **held_out,
    }


def scored(videos: VideoSet, run: Path) -> float:
    """Return the accuracy of a run on the test videos of its own split."""
    record = run / "top1.json"
    if not record.exists():
        found = vidpipe.evaluate(store=videos.store, runs=[run], out=run / "results")["runs"][0]["metrics"]["top1"]
        record.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def probed(videos: VideoSet, manifest: Path, out: Path, method: Method) -> dict[str, Any]:
    """Fit a linear probe; it has no seed."""
    record = out / f"{method.folder}.json"
    if not record.exists():
        alone = {"all-cheap": CHEAP, "all-expensive": EXPENSIVE}.get(method.pattern)
        what = {"backbones": [f"{alone}{POOLED}"]} if alone else {"pattern": method.pattern}
        document = vidpipe.probe(
            store=videos.store,
            splits=manifest,
            num_clips=method.clips,
            strengths=STRENGTHS,
            out=out / method.folder,
            **what,
        )
        record.write_text(json.dumps(document, default=str), encoding="utf-8")
    found = json.loads(record.read_text(encoding="utf-8"))["probes"][0]
    return {
        "method": method.title,
        "seed": 0,
        "top1": found["metrics"]["top1"],
        "gmacs": found["gmacs"],
        "seconds": 0.0,
    }


def from_scratch(manifest: Path, out: Path, *, seed: int) -> dict[str, Any]:
    """Train a small network from scratch with the defaults, and average its scores of eight clips."""
    out = out / f"scratch_seed{seed}"
    record = out / "record.json"
    if not record.exists():
        made = vidpipe.train_backbone(
            manifest=manifest, backbone=SCRATCH, crop=SIZE, out=out / "backbone", threads=1, workers=1, seed=seed
        )
        given = {"manifest": manifest, "store": out / "s.zarr", "num_clips": CLIPS, "threads": 1}
        extracted = vidpipe.extract(cheap=str(made.weights), **given)
        vidpipe.train_aggregator(store=out / "s.zarr", aggregator="average", out=out / "average")
        found = vidpipe.evaluate(store=out / "s.zarr", runs=[out / "average"], out=out / "results")["runs"][0]
        figures = {"top1": found["metrics"]["top1"], "gmacs": found["gmacs"], "seconds": made.seconds}
        record.write_text(json.dumps({**figures, "extraction": extracted.seconds}), encoding="utf-8")
    return {
        "method": f"{SCRATCH} from scratch, average, {CLIPS} clips",
        "seed": seed,
        **json.loads(record.read_text(encoding="utf-8")),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Return a line a method and split, both directions together: cost, seconds of training, top-1, every run, rate."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["set"], run["split"].partition(",")[0], run["method"]), []).append(run)
    lines = [["set", "split", "method", "GMACs a video", "training, s", "top-1 %, mean ± sd", "every run", "rate"]]
    for (videos, split, method), own in groups.items():
        scores = [100 * run["top1"] for run in own]
        found = mean_interval(scores)
        spread = "" if found.deviation is None else f" ± {found.deviation:.1f}"
        seconds = statistics.median(run["seconds"] for run in own)
        rates = "/".join(dict.fromkeys(f"{run['rate']:g}" for run in own if "rate" in run))
        every = ", ".join(f"{score:.1f}" for score in scores) if len(own) > 1 else ""
        cost, took = f"{own[0]['gmacs']:.3g}", f"{seconds:.0f}" if seconds else ""
        lines.append([videos, split, method, cost, took, f"{found.mean:.1f}{spread}", every, rates])
    return markdown(lines)


def extraction_table(extractions: list[dict[str, Any]]) -> str:
    """Return what the extractions took, in seconds a video; decoding runs beside the networks."""
    lines = [["set", "videos", "seconds", "seconds a video", "decoding", CHEAP, EXPENSIVE]]
    for own in extractions:
        parts = (own["decoding"], own[f"{CHEAP}{POOLED}"], own[f"{EXPENSIVE}{POOLED}"])
        each = [f"{seconds / own['videos']:.2f}" for seconds in (own["seconds"], *parts)]
        lines.append([own["set"], str(own["videos"]), f"{own['seconds']:.0f}", *each])
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """Return rows of cells as a table, the first of them its header."""
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])


if __name__ == "__main__":
    main()
