"""How fast clips go through the backbones and frames come out of a video; prints one JSON document.

    python benchmarks/speed.py --video some.mp4

Compare ratios within one document: absolute figures move with the machine and with what else runs on it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vidpipe.pipeline.backbones.devices import cpu_has_bfloat16
from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, load_backbone
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.videos.clips import ClipSampling, frame_indices, uniform_starts
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, read_all
from vidpipe.pipeline.videos.transforms import normalise, preprocess_test


def main() -> None:
    """Time what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="also time decoding, on this file")
    parser.add_argument("--backbones", nargs="+", default=["r2plus1d_50", "r2d_26"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=5)
    own = parser.parse_args()
    document: dict = {"threads": torch.get_num_threads(), "bfloat16": cpu_has_bfloat16()}
    document["backbones"] = {name: time_backbone(name, size=own.size, runs=own.runs) for name in own.backbones}
    if own.video is not None:
        document["decoding"] = time_decoding(own.video, runs=own.runs)
    print(json.dumps(document, indent=2))


def time_backbone(name: str, *, size: int, runs: int) -> dict[str, float]:
    """Return seconds a clip of plain torch and of the engine, and how much faster the best engine is."""
    preprocessing = Preprocessing(crop=size, short_side=size)
    torch.manual_seed(0)
    weights = collect_weights(
        build_backbone(name, num_classes=400),
        classes=[str(index) for index in range(400)],
        preprocessing=preprocessing,
        num_frames=8,
    )
    clips = torch.randint(0, 256, (4, 8, size, size, 3), dtype=torch.uint8)
    plain = load_backbone(weights)

    @torch.inference_mode()
    def run_plain() -> None:
        plain(normalise(clips[:1], preprocessing).contiguous())

    seconds = {"plain torch, float32": median_seconds(run_plain, runs=runs)}
    for precision in ("float32", *(["bfloat16"] if cpu_has_bfloat16() else [])):
        for batch in (1, 2, 4):
            engine = build_engine(weights, EngineSettings(device="cpu", precision=precision, batch=batch))
            took = median_seconds(lambda engine=engine, batch=batch: engine.run(clips[:batch]), runs=runs)
            seconds[f"engine, {precision}, batch {batch}"] = took / batch
    gmacs = backbone_macs(name, num_frames=8, size=size) / 1e9
    ratio = seconds["plain torch, float32"] / min(seconds.values())
    return {**seconds, "GMAC a clip": gmacs, "best engine over plain torch": ratio}


def time_decoding(video: Path, *, runs: int) -> dict[str, float]:
    """Return rates of a plain decode, and of 32 and 4 clips of 8 frames prepared for a 224 crop."""
    preprocessing = Preprocessing()
    num_frames = len(read_all(video))
    rates = {"frames/s, plain decode to RGB": num_frames / median_seconds(lambda: read_all(video), runs=runs)}
    for num_clips in (32, 4):

        def prepare(num_clips: int = num_clips) -> None:
            sampling = ClipSampling(num_clips=num_clips)
            with VideoReader(video) as reader:
                starts = uniform_starts(sampling, reader.timeline)
                indices = [frame_indices(reader.timeline, start, sampling) for start in starts]
                for clip in reader.read_clips(indices):
                    preprocess_test(clip, preprocessing)

        rates[f"clips/s, {num_clips} clips prepared"] = num_clips / median_seconds(prepare, runs=runs)
    return rates


def median_seconds(work: Callable[[], object], *, runs: int) -> float:
    """Return the median seconds of ``work``, after one call that does not count."""
    work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
