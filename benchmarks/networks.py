"""How fast a clip of each published network goes through the engine, beside its GMACs; prints one JSON document.

    python benchmarks/networks.py
    python benchmarks/networks.py --backbones x3d_s x3d_m ircsn_50 slow_only_50 --threads 1

A network's GMAC/s beside the greatest of them all says by how much it falls short of its GMACs: convolutions that are
depthwise do little with each number that they read. Clips have the networks' usual frames and the pixels of their
sources' figures, and are noise; weights are drawn at random. Compare ratios within one document: absolute figures move
with the machine and with what else runs on it.
"""

import argparse
import json
import re
from math import prod

import torch
from speed import median_seconds
from torch import nn

from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone, usual_clip
from vidpipe.pipeline.backbones.weights import collect_weights
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.videos.preprocessing import Preprocessing

# Pattern of a name -> side in pixels of the clips in its source's figures; of all others 224.
PIXELS = {r"x3d_(xs|s)": 160, r"x3d_l": 312, r"(r2plus1d|r3d|mc3)_18.*": 112, r"r2plus1d_\d+_vmz.*": 112}
UNPUBLISHED = r".*_14(_.*)?|.*_w\d+|(?!r2d).*_26(_.*)?"  # shallower or narrower than any source has them


def main() -> None:
    """Time what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published = [name for name in BACKBONES.names() if not re.fullmatch(UNPUBLISHED, name)]
    parser.add_argument("--backbones", nargs="+", default=published, help="by default all that are published")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["float32"])
    own = parser.parse_args()
    settings = [
        EngineSettings(device=own.device, precision=precision, batch=1, threads=own.threads)
        for precision in own.precision
    ]
    rows = [time_network(name, one, runs=own.runs) for name in own.backbones for one in settings]
    fastest = {
        one.precision: max(row["GMAC/s"] for row in rows if row["precision"] == one.precision) for one in settings
    }
    for row in rows:
        row["GMAC/s as a share of the greatest"] = round(row["GMAC/s"] / fastest[row["precision"]], 3)
    print(json.dumps({"device": own.device, "threads": own.threads, "runs": own.runs, "networks": rows}, indent=2))


def time_network(name: str, settings: EngineSettings, *, runs: int) -> dict:
    """Return what a clip of a network costs by counting and by the clock: the median of ``runs``."""
    frames, size = usual_clip(name)[0], pixels(name)
    torch.manual_seed(0)
    weights = collect_weights(
        build_backbone(name, num_classes=400),
        classes=[str(index) for index in range(400)],
        preprocessing=Preprocessing(crop=size, short_side=size),
        num_frames=frames,
    )
    engine = build_engine(weights, settings)
    clip = torch.randint(0, 256, (1, frames, size, size, 3), dtype=torch.uint8)
    seconds = median_seconds(lambda: engine.run(clip), runs=runs)
    macs = backbone_macs(name, num_frames=frames, size=size)
    return {
        "backbone": name,
        "clip": f"{frames}×{size}×{size}",
        "precision": settings.precision,
        "GMAC": round(macs / 1e9, 3),
        "of these depthwise": round(grouped_macs(name, frames=frames, size=size) / macs, 3),
        "ms": round(seconds * 1e3, 2),
        "GMAC/s": round(macs / 1e9 / seconds, 2),
    }


def pixels(name: str) -> int:
    """Return the side of the clips for which a network is published."""
    return next((side for pattern, side in PIXELS.items() if re.fullmatch(pattern, name)), 224)


def grouped_macs(name: str, *, frames: int, size: int) -> int:
    """Return the multiply-accumulates of a network's convolutions in groups."""
    found: list[int] = []
    with torch.device("meta"):
        network = build_backbone(name, num_classes=1).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups > 1:
                each = module.in_channels // module.groups * prod(module.kernel_size)
                module.register_forward_hook(lambda _module, _inputs, out, each=each: found.append(out.numel() * each))
        network(torch.empty(1, 3, frames, size, size))
    return sum(found)


if __name__ == "__main__":
    main()
