"""Do the defaults work on small sets? The defaults that vidpipe chooses, beside those that it once had for every set.

    python benchmarks/small_data.py --media $VIDPIPE_TEST_MEDIA --out runs/small_data --table

Three sets: UT-Interaction by scene, both directions, and two rendered ones. For each set, recipe and seed: train a
backbone, extract eight clips of each video, and average their scores; the test videos are scored once, at the end.
"once" is one stride for all videos and the recipe for many (stride 1, preset large); "chosen" types neither; "recipe"
and "stride" are one of the two alone. Beside them stand chance, the largest class, and nearest neighbours on what the
files say of themselves. Resumable: what is finished is read again. Prints one JSON document, or with --table a Markdown
table.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ut_interaction import DIRECTIONS, read_labels, write_manifest

import vidpipe
from vidpipe.pipeline.evaluation.confidence import mean_interval
from vidpipe.pipeline.manifests.manifest import Manifest, read_manifest
from vidpipe.pipeline.videos.reader import probe

CLIPS, SIZE = 8, 40
# Name -> (what is typed for train_backbone, for train_aggregator).
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "once": ({"sampling_rate": 1, "preset": "large"}, {"preset": "large"}),
    "chosen": ({}, {}),
    "recipe": ({"sampling_rate": 1}, {}),
    "stride": ({"preset": "large"}, {"preset": "large"}),
}
# About two seconds, four classes. In the first set the fine motion ends after four frames: a larger stride misses it.
# In the second it goes on for 24.
COMMON = {"num_events": 2, "frames": 60, "size": 48, "videos": 140, "test_fraction": 0.572}
RENDERED: dict[str, dict[str, Any]] = {
    "rendered, short motion": {**COMMON, "seed": 11, "difficulty": "easy"},
    "rendered, long motion": {**COMMON, "seed": 12, "difficulty": "medium", "bar_life": 24, "host": 1.3},
}
METHODS = ("average",)  # the recipes of aggregators that are trained do not differ


def main() -> None:
    """Run everything that is asked for, and print what came out."""
    own = arguments()
    sets = list(prepare_sets(own))
    runs = [
        record
        for seed in range(
            own.first_seed, own.first_seed + own.seeds
        )  # seeds outermost: a first answer for all sets comes early
        for name, manifest, backbone in sets
        for recipe in own.recipes
        for record in one_run(own, manifest, name=name, backbone=backbone, recipe=recipe, seed=seed)
    ]
    baselines = [record for name, manifest, _ in sets for record in baselines_of(manifest, name=name)]
    document = {"settings": {key: str(value) for key, value in vars(own).items()}, "runs": [*baselines, *runs]}
    print(table(document["runs"]) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds ut_interaction/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="to run seeds side by side")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["once", "chosen"])
    parser.add_argument("--only", default="", help="sets whose name has this in it")
    parser.add_argument("--table", action="store_true", help="print the Markdown table instead of JSON")
    return parser.parse_args()


def prepare_sets(own: argparse.Namespace) -> Iterator[tuple[str, Path, str]]:
    """Yield name, manifest and backbone of every set that is asked for, rendered where it is not there yet."""
    rows = read_labels(own.media)
    for direction in DIRECTIONS:
        name = f"UT-Interaction, {direction}"
        backward = DIRECTIONS[direction] == "backward"
        if own.only in name:
            yield name, write_manifest(rows, own.media, own.out / folder_of(name), backward=backward), "r2d_14_w16"
    for name in (name for name in RENDERED if own.only in name):
        words = RENDERED[name]
        folder = own.out / folder_of(name) / "videos"
        vidpipe.render(out=folder, workers=1, **words)
        yield name, folder / "manifest.csv", "r2d_14_w8"


def folder_of(name: str) -> str:
    """Return the folder of a set."""
    return name.lower().replace(",", "").replace(" ", "_")


def one_run(
    own: argparse.Namespace, manifest: Path, *, name: str, backbone: str, recipe: str, seed: int
) -> list[dict[str, Any]]:
    """Train, extract and evaluate once; return a record for each method."""
    out = own.out / folder_of(name) / f"{recipe}_seed{seed}"
    record = out / "record.json"
    if not record.exists():
        of_backbone, of_aggregator = RECIPES[recipe]
        small = {"threads": 1, "seed": seed}
        given = {"manifest": manifest, "backbone": backbone, "crop": SIZE, "out": out / "backbone", "workers": 1}
        trained = vidpipe.train_backbone(**given, **small, **of_backbone)
        store, weights = out / "s.zarr", f"{backbone}={trained.weights}"
        vidpipe.extract(manifest=manifest, store=store, cheap=weights, num_clips=CLIPS, threads=1, batch=8)
        for method in METHODS:
            vidpipe.train_aggregator(store=store, aggregator=method, seed=seed, out=out / method, **of_aggregator)
        scored = vidpipe.evaluate(store=store, runs=[out / method for method in METHODS], out=out / "results")
        made = vidpipe.RunDirectory.open(out / "backbone").settings
        found = [
            {
                "set": name,
                "method": f"{recipe}, {method}",
                "seed": seed,
                "top1": result["metrics"]["top1"],
                "num_test": result["metrics"]["num_scored"],
                "stride": made["sampling_rate"],
                "epochs": made["optimisation"]["epochs"],
                "loss": trained.metrics["loss"],
                "warnings": len(trained.warnings),
            }
            for method, result in zip(METHODS, scored["runs"], strict=True)
        ]
        record.write_text(json.dumps(found, indent=2), encoding="utf-8")
    found = json.loads(record.read_text(encoding="utf-8"))
    return [own for own in found if own["method"].removeprefix(f"{recipe}, ") in METHODS]


def baselines_of(manifest_path: Path, *, name: str) -> Iterator[dict[str, Any]]:
    """Yield what can be reached without a look at a pixel: chance, the largest class, the files' own metadata."""
    manifest = read_manifest(manifest_path)
    train, test = manifest.subset("train"), manifest.subset("test")
    largest = Counter(video.labels[0] for video in train.videos).most_common(1)[0][0]
    majority = statistics.fmean(video.labels[0] == largest for video in test.videos)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(5)).fit(metadata(train), labels(train))
    for method, top1 in {
        "chance": 1 / len(manifest.classes),
        "largest class": majority,
        "metadata, 5 neighbours": float(model.score(metadata(test), labels(test))),
    }.items():
        yield {"set": name, "method": method, "seed": 0, "top1": top1, "num_test": len(test)}


def labels(manifest: Manifest) -> list[str]:
    """Return each video's label."""
    return [video.labels[0] for video in manifest.videos]


def metadata(manifest: Manifest) -> np.ndarray:
    """Return (V, 6): width, height, their ratio, frames, rate, and bytes a frame of each video."""
    infos = [probe(video.path) for video in manifest.videos]
    sizes = [video.path.stat().st_size for video in manifest.videos]
    return np.array(
        [
            [own.width, own.height, own.width / own.height, own.num_frames, own.average_fps, size / own.num_frames]
            for own, size in zip(infos, sizes, strict=True)
        ]
    )


def table(runs: list[dict[str, Any]]) -> str:
    """Return a line a method and set: every seed, mean and standard deviation of top-1, and the backbone's stride."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["set"], run["method"]), []).append(run)
    lines = [["set", "method", "top-1 %, mean ± sd", "95 % of the mean", "seeds", "stride", "warned"]]
    for (name, method), own in groups.items():
        scores = [100 * run["top1"] for run in own]
        found = mean_interval(scores)
        spread = "" if found.deviation is None else f" ± {found.deviation:.1f}"
        lines.append(
            [
                name,
                method,
                f"{found.mean:.1f}{spread}",
                "" if found.half_width is None else f"± {found.half_width:.1f}",
                ", ".join(f"{score:.1f}" for score in scores),
                "/".join(map(str, dict.fromkeys(run.get("stride", "") for run in own))),
                str(sum(run["warnings"] > 0 for run in own)) if "warnings" in own[0] else "",
            ]
        )
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])


if __name__ == "__main__":
    main()
