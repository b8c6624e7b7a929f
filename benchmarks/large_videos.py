"""The most memory that checking and extracting a large video takes; prints one JSON document.

    python benchmarks/large_videos.py --out /tmp/large

Makes flat videos of 24 frames (8192×8192 in H.264 and, of 8 frames, MJPEG; 7680×4320 in 10 bits in H.264,
HEVC and AV1), and runs each command on each of them, in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 24
X264 = {"preset": "medium", "x264-params": "rc-lookahead=4:sync-lookahead=0"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:ref=4:bframes=4:rc-lookahead=6:frame-threads=1"}
SVT = {"preset": "12", "svtav1-params": "lp=1"}
# file: codec, width, height, pixel format, frames, options
FILES = {
    "h264_8192.mp4": ("libx264", 8192, 8192, "yuv420p", FRAMES, {"preset": "ultrafast"}),
    "mjpeg_8192.avi": ("mjpeg", 8192, 8192, "yuvj420p", 8, {}),
    "h264_8k10.mp4": ("libx264", 7680, 4320, "yuv420p10le", FRAMES, X264),
    "hevc_8k10.mp4": ("libx265", 7680, 4320, "yuv420p10le", FRAMES, X265),
    "av1_8k10.mp4": ("libsvtav1", 7680, 4320, "yuv420p10le", FRAMES, SVT),
}


def main() -> None:
    """Make what is missing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for videos and stores")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout of vidpipe that is measured")
    own = parser.parse_args()
    own.out.mkdir(parents=True, exist_ok=True)
    weights = own.out / "weights.safetensors"
    make_weights(weights)
    document = {"torch": torch.__version__, "av": av.__version__, "videos": {}}
    for name in FILES:
        make_video(own.out / name)
        document["videos"][name] = measured(own.out / name, weights, root=own.root)
    print(json.dumps(document, indent=2))


def make_weights(path: Path) -> None:
    """Write a small backbone that nobody has trained."""
    from vidpipe.pipeline.backbones.registry import build_backbone
    from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
    from vidpipe.pipeline.videos.preprocessing import Preprocessing

    torch.manual_seed(0)
    backbone = build_backbone("r2d_14_w16", num_classes=2)
    save_weights(path, collect_weights(backbone, classes=["a", "b"], preprocessing=Preprocessing(), num_frames=8))


def make_video(path: Path) -> None:
    """Write one of `FILES`, if it is not there."""
    if path.exists():
        return
    codec, width, height, pixel_format, frames, options = FILES[path.name]
    kind, level = (np.uint16, 512) if "10" in pixel_format else (np.uint8, 64)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        picture = av.VideoFrame(width, height, pixel_format)
        for plane in picture.planes:
            plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, level, kind).tobytes())
        for number in range(frames):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def measured(video: Path, weights: Path, *, root: Path) -> dict[str, dict[str, float | str]]:
    """Return command -> what it took."""
    manifest, store = video.with_suffix(".csv"), video.with_suffix(".zarr")
    manifest.write_text(f"path,label,split\n{video},a,train\n")
    subprocess.run(["rm", "-rf", str(store)], check=True)
    extract = ["--manifest", str(manifest), "--store", str(store), "--cheap", f"r2d_14_w16={weights}", "--threads", "1"]
    commands = {
        "help": ["extract", "--help"],
        "check": ["manifest", "check", str(manifest)],
        "extract": ["extract", *extract, "--clips", "8"],
    }
    return {name: peak(words, root=root) for name, words in commands.items()}


def peak(words: list[str], *, root: Path) -> dict[str, float | str]:
    """Return the largest resident memory of one command, in GB, its exit code, and the last that it says."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vidpipe", *words],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    last = said.strip().splitlines()[-1] if said.strip() else ""
    return {
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "exit": os.waitstatus_to_exitcode(status),
        "said": last,
    }


if __name__ == "__main__":
    main()
