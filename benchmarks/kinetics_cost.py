"""What `vidpipe extract --dry-run` foresees for the training videos of Kinetics-400 with FASTER32; prints what it says.

    python benchmarks/kinetics_cost.py --media "$VIDPIPE_TEST_MEDIA" --out runs/kinetics_cost

The manifest has a row for each of the 240,000 videos; the rows point at real clips of that kind in turn, and the
full-size networks have random weights: what a run costs depends on neither. Nothing is extracted.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.manifests.manifest import Manifest, Video, write_manifest
from vidpipe.pipeline.videos.preprocessing import Preprocessing

NUM_VIDEOS, NUM_CLASSES = 240_000, 400  # Kinetics-400, training split
NUM_FRAMES, NUM_CLIPS, PATTERN = 32, 8, "1:1"  # FASTER32
BACKBONES = {"expensive": "r2plus1d_50", "cheap": "r2d_26"}
CLASSES = tuple(f"class {index:03}" for index in range(NUM_CLASSES))


def main() -> None:
    """Write the inputs, run the command and say what it was."""
    own = arguments()
    own.out.mkdir(parents=True, exist_ok=True)
    manifest = own.out / f"kinetics_{own.num_videos}.csv"
    write_manifest(make_manifest([own.media / "samples" / name for name in own.videos], own.num_videos), manifest)
    words = ["extract", f"--manifest={manifest}", f"--store={own.out / 'kinetics.zarr'}", "--split=train"]
    words += [f"--{role}={name}={write_weights(name, own.out)}" for role, name in BACKBONES.items()]
    words += [f"--frames={NUM_FRAMES}", f"--clips={NUM_CLIPS}", f"--pattern={PATTERN}", "--dry-run"]
    words += [f"--threads={own.threads}"] if own.threads else []
    words += ["--json"] if own.json else []
    print("vidpipe", *words, file=sys.stderr)
    raise SystemExit(subprocess.run([sys.executable, "-m", "vidpipe.cli.main", *words], check=False).returncode)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds samples/")
    parser.add_argument("--videos", nargs="+", default=["test.mp4", "skateboarding.mp4"], help="files in samples/")
    parser.add_argument("--num-videos", type=int, default=NUM_VIDEOS)
    parser.add_argument("--out", type=Path, required=True, help="directory for manifest and weights")
    parser.add_argument("--threads", type=int, help="of the backbones; the command's own default otherwise")
    parser.add_argument("--json", action="store_true", help="print the command's JSON document")
    return parser.parse_args()


def make_manifest(files: list[Path], num_videos: int) -> Manifest:
    """Return ``num_videos`` videos with ids of their own that lie in ``files`` in turn."""
    paths = [file.resolve() for file in files]
    return Manifest(tuple(_video(index, paths[index % len(paths)]) for index in range(num_videos)))


def _video(index: int, path: Path) -> Video:
    label = CLASSES[index % NUM_CLASSES]
    return Video(video_id=f"video{index:06}", path=path, labels=(label,), split="train", written_path=str(path))


def write_weights(name: str, out: Path) -> Path:
    """Write random weights of a backbone for Kinetics' clips and classes, and return the file."""
    torch.manual_seed(0)
    backbone = build_backbone(name, num_classes=NUM_CLASSES)
    path = out / f"{name}.safetensors"
    weights = collect_weights(backbone, classes=CLASSES, preprocessing=Preprocessing(), num_frames=NUM_FRAMES)
    save_weights(path, weights)
    return path


if __name__ == "__main__":
    main()
