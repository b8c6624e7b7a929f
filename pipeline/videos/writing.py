"""Write small H.264 files, such as those of the rendered set."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from ..files import write_atomically

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a file is encoded.

    Attributes:
        fps: frames per second.
        crf: x264's constant rate factor; higher is coarser and smaller.
        keyframe_interval: frames from one keyframe to the next, at most.
        b_frames: consecutive B-frames, at most.
        preset: of x264, which trades time for size.
    """

    fps: int = 30
    crf: int = 20
    keyframe_interval: int = 32
    b_frames: int = 2
    preset: str = "ultrafast"

    def options(self) -> dict[str, str]:
        """Return the options for x264. One thread, so that the file depends on its content alone."""
        return {
            "preset": self.preset,
            "crf": str(self.crf),
            "g": str(self.keyframe_interval),
            "bf": str(self.b_frames),
            "threads": "1",
        }


def write_h264(path: Path, *, planes: Planes, encoding: Encoding) -> None:
    """Write an MP4 file, whole or not at all.

    Args:
        path: of the file, whose folder exists.
        planes: Y (F, H, W), U and V (F, H / 2, W / 2), uint8, limited range; H and W even.
        encoding: how.

    Raises:
        OutOfSpaceError: if the disk is full.
        FileError: if the file cannot be written for another reason.
    """
    write_atomically(path, lambda unfinished: _encode(unfinished, planes, encoding))


def _encode(path: Path, planes: Planes, encoding: Encoding) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=encoding.fps, options=encoding.options())
        stream.height, stream.width = planes[0].shape[1:]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in _packed(planes):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode())


def _packed(planes: Planes) -> np.ndarray:
    """Return the planes in PyAV's form of yuv420p, (F, H * 3 / 2, W) uint8."""
    frames, height, width = planes[0].shape
    flat = np.concatenate([plane.reshape(frames, -1) for plane in planes], axis=1)
    return flat.reshape(frames, height * 3 // 2, width)
