"""Table 5 of the FASTER paper: seconds and GMACs of videos from file to scores; prints one JSON document.

    python benchmarks/runtime.py --media "$VIDPIPE_TEST_MEDIA" --threads 1 --table

Full-size networks with random weights (only time is of interest) see the same real clips: 8 of 32 frames, 224 pixels.
Settings take turns video by video, so that what else runs on the machine meets them all, and seconds of the processor
stand beside those of the wall clock; trust ratios, not seconds.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from runtime_report import CPU, WALL, Seconds, markdown, summarise
from torch import Tensor

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.video_model import VideoModel, build_video_model
from vidpipe.pipeline.backbones.devices import resolve_device, resolve_precision
from vidpipe.pipeline.backbones.engine import Engine, build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape
from vidpipe.pipeline.backbones.weights import collect_weights
from vidpipe.pipeline.costs.flops import backbone_macs, count_macs
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.training.batches import prefetched
from vidpipe.pipeline.videos.clip_reader import decode_clips
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.stages.extract.task import LoadedBackbone, run_backbone

BACKBONES = {"expensive": "r2plus1d_50", "cheap": "r2d_26"}
CLASSES = tuple(str(index) for index in range(400))
SAMPLING = ClipSampling(num_frames=32, num_clips=8)
VIDEOS = ("test.mp4", "skateboarding.mp4", "flipping_a_pancake.mkv", "v_ZNVhz7ctTq0.mp4")
SETTINGS = {  # name, as in `runtime_report.PAPER` -> pattern, aggregator
    "all cheap": ("all-cheap", "average"),
    "all expensive": ("all-expensive", "average"),
    "FASTER32": ("1:1", "fast-gru"),
}

Clips = dict[Preprocessing, Tensor]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of the table, ready to run."""

    name: str
    roles: tuple[str, ...]
    backbones: dict[str, LoadedBackbone]
    model: VideoModel
    device: torch.device

    def finish(self, clips: Clips) -> Seconds:
        """Take decoded clips to the video's scores, and return the seconds of each part."""
        seconds, maps, scores = {}, {}, torch.zeros(1, SAMPLING.num_clips, len(CLASSES))
        for role, backbone in self.backbones.items():
            with stopwatch(seconds, role):
                features, own_scores = run_backbone(backbone, clips)
                maps[role] = torch.from_numpy(features[:, backbone.clips]).to(self.device).float()
                scores[:, backbone.clips] = torch.from_numpy(own_scores[:, backbone.clips])
        needed = maps if self.model.aggregator.needs_features else {}
        with stopwatch(seconds, "aggregator"), torch.inference_mode():
            self.model(needed, scores.to(self.device), self.roles).cpu()
        return seconds

    def gmacs(self, crop: int) -> dict[str, float]:
        """Return 10^9 multiply-accumulates a video of each part, counted by running the shapes."""
        cost = {}
        for role, backbone in self.backbones.items():
            macs = backbone_macs(BACKBONES[role], num_frames=SAMPLING.num_frames, size=crop)
            cost[role] = macs * int(backbone.clips.sum()) / 1e9
        maps = {role: torch.empty(1, self.roles.count(role), *_shape(crop), device="meta") for role in self.backbones}
        scores = torch.empty(1, len(self.roles), len(CLASSES), device="meta")
        needed = maps if self.model.aggregator.needs_features else {}
        return cost | {"aggregator": count_macs(self.model, needed, scores, self.roles) / 1e9}


@contextmanager
def stopwatch(seconds: Seconds, part: str) -> Iterator[None]:
    """Note how long the block takes, by the wall and of the processor."""
    began, cpu_began = time.perf_counter(), time.process_time()
    yield
    seconds[WALL, part] = time.perf_counter() - began
    seconds[CPU, part] = time.process_time() - cpu_began


def main() -> None:
    """Time what the command line asks for."""
    own = arguments()
    torch.set_num_threads(own.threads)
    videos = [_video(own.media / "samples" / name) for name in own.videos]
    settings = build_settings(own)
    decode = decoder(own.size, own.threads)
    warm = decode(videos[0])
    for setting in settings:
        setting.finish(warm)  # the first call prepares kernels
    serial = [time_serial(settings, videos, decode, repeat) for repeat in range(own.repeats)]
    gmacs = {setting.name: setting.gmacs(own.size) for setting in settings}
    overlapped = [time_overlapped(settings, videos, decode, repeat) for repeat in range(own.repeats)]
    clock = CPU if resolve_device(own.device).type == "cpu" else WALL
    document = describe(own) | summarise(gmacs, serial, overlapped, num_videos=len(videos), clock=clock)
    print(markdown(document) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds samples/")
    parser.add_argument("--videos", nargs="+", default=VIDEOS, help="files in samples/")
    parser.add_argument("--size", type=int, default=224, help="crop, pixels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--precision", default="auto", help="of the backbones; auto is the fastest there is")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="print Markdown instead of JSON")
    return parser.parse_args()


def build_settings(own: argparse.Namespace) -> list[Setting]:
    """Return the lines of the table, with one engine a backbone between them."""
    device = resolve_device(own.device)
    engines = {role: _engine(name, own) for role, name in BACKBONES.items()}
    settings = []
    for name, (pattern, aggregator) in SETTINGS.items():
        expensive = Pattern.parse(pattern).expensive(SAMPLING.num_clips)
        places = {role: mask for role, mask in (("expensive", expensive), ("cheap", ~expensive)) if mask.any()}
        spec = AggregatorSpec(name=aggregator, channels=_shape(own.size)[-1], num_classes=len(CLASSES))
        model = build_video_model(spec, shapes={role: _shape(own.size) for role in places}).to(device).eval()
        backbones = {
            role: LoadedBackbone(engine=engines[role], preprocessing=_preprocessing(own.size), clips=mask)
            for role, mask in places.items()
        }
        roles = tuple("expensive" if flag else "cheap" for flag in expensive)
        settings.append(Setting(name=name, roles=roles, backbones=backbones, model=model, device=device))
    return settings


def decoder(size: int, threads: int) -> Callable[[Video], Clips]:
    """Return what decodes, resizes and crops all clips of a video."""
    due = np.ones(SAMPLING.num_clips, bool)

    def decode(video: Video) -> Clips:
        torch.set_num_threads(threads)  # torch keeps the number for each calling thread
        return decode_clips(video, sampling=SAMPLING, due={_preprocessing(size): due})[1]

    return decode


def time_serial(
    settings: Sequence[Setting], videos: Sequence[Video], decode: Callable[[Video], Clips], repeat: int
) -> dict[str, Seconds]:
    """Return, by setting, the seconds of each part over all videos, one thing after the other."""
    total: dict[str, Counter[tuple[str, str]]] = {setting.name: Counter() for setting in settings}
    for video in videos:
        for setting in _rotated(settings, repeat):
            seconds: Seconds = {}
            with stopwatch(seconds, "decoding"):
                clips = decode(video)
            total[setting.name].update(seconds | setting.finish(clips))
    return {name: dict(seconds) for name, seconds in total.items()}


def time_overlapped(
    settings: Sequence[Setting], videos: Sequence[Video], decode: Callable[[Video], Clips], repeat: int
) -> dict[str, float]:
    """Return, by setting, the seconds over all videos while a thread decodes those that come next.

    This is how `vidpipe extract` works; only the first video's decoding is not hidden.
    """
    total = {}
    for setting in _rotated(settings, repeat):
        began = time.perf_counter()
        for (clips,) in prefetched(decode, [[video] for video in videos], workers=1, ahead=2):
            setting.finish(clips)
        total[setting.name] = time.perf_counter() - began
    return total


def describe(own: argparse.Namespace) -> dict:
    """Return what was run, and on what."""
    device = resolve_device(own.device)
    return {
        "videos": list(own.videos),
        "repeats": own.repeats,
        "threads": own.threads,
        "device": device.type,
        "precision": resolve_precision(own.precision, device),
        "weights": "random",
        "clips": f"{SAMPLING.num_clips} of {SAMPLING.num_frames} frames at {own.size} pixels",
    }


def _rotated(settings: Sequence[Setting], repeat: int) -> list[Setting]:
    """Return the settings in another order at each repeat, so that none always follows the same one."""
    start = repeat % len(settings)
    return [*settings[start:], *settings[:start]]


def _engine(name: str, own: argparse.Namespace) -> Engine:
    torch.manual_seed(0)
    weights = collect_weights(
        build_backbone(name, num_classes=len(CLASSES)),
        classes=CLASSES,
        preprocessing=_preprocessing(own.size),
        num_frames=SAMPLING.num_frames,
    )
    return build_engine(weights, EngineSettings(device=own.device, precision=own.precision, threads=own.threads))


def _preprocessing(size: int) -> Preprocessing:
    return Preprocessing(crop=size, short_side=round(size * 256 / 224))


def _shape(size: int) -> tuple[int, int, int, int]:
    """Return (T', H', W', C) of either backbone's maps."""
    return feature_shape(BACKBONES["expensive"], num_frames=SAMPLING.num_frames, size=size)


def _video(path: Path) -> Video:
    return Video(video_id=path.stem, path=path.resolve(), labels=("",), split="test", written_path=str(path))


if __name__ == "__main__":
    main()
