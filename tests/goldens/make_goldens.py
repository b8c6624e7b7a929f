"""Make the goldens of videos/test_reader.py with the ffmpeg and ffprobe programs.

    python tests/goldens/make_goldens.py clips           draw the clips anew, then write clips.json
    python tests/goldens/make_goldens.py media DIRECTORY  write media.json, of the real media in DIRECTORY

Only ffmpeg (5.1 made the files beside this one) and NumPy are needed; nothing of vidpipe is used. The JSON holds of
each file: the size shown (square pixels, upright), the number of frames, their timestamps as runs of equal gaps, and
thumbnails of 8 x 8 mean colours (RGB, hex) of its first, middle and last frame, after ffmpeg's own rotation.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SIDE = 8

# Files of the real media that ffmpeg decodes in part only, or that hold no video.
WITHOUT_GOLDENS = (
    "audio_only",
    "corrupted.mp4",
    "chunk_out_of_range.mp4",
    "no_timescale.mp4",
    "test_case_1185230.mp4",
    "test-stuffed-pes.ts",
)
SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mpg", ".3gp"}

X264 = "-c:v libx264 -preset veryslow -crf 32 -pix_fmt yuv420p -bitexact"
X265 = "-c:v libx265 -x265-params log-level=none:info=0"
SOURCE = "-f lavfi -i testsrc2=size=64x48:rate={rate}:duration={seconds}"
KEY = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb"
KEY += " -encryption_kid a7e61c373e219033c21091fa607bf3b8"


def source(*, rate: str = "25", seconds: float = 2) -> str:
    """Return the arguments that draw ffmpeg's moving test picture."""
    return SOURCE.format(rate=rate, seconds=seconds)


# What to run for each clip, in this order; a clip may be made from one before it.
CLIPS = {
    "b_frames.mp4": f"{source()} {X264} -bf 3 -g 16",
    "edit_list.mp4": "-ss 0.5 -i b_frames.mp4 -c copy",
    "matroska.mkv": "-i b_frames.mp4 -c copy -bitexact",
    "transport.ts": "-i b_frames.mp4 -c copy",
    "b_frames_in_avi.avi": "-i b_frames.mp4 -c copy -bitexact",
    "encrypted.mp4": f"-i b_frames.mp4 -c copy {KEY}",
    "rotated_90.mp4": "-i b_frames.mp4 -c copy -metadata:s:v rotate=270",
    "rotated_180.mp4": "-i b_frames.mp4 -c copy -metadata:s:v rotate=180",
    "variable_rate.mp4": f"{source()} -vf select='not(mod(n\\,3))+gt(n\\,30)' -fps_mode vfr {X264} -bf 2 -g 12",
    "open_group.mp4": f"{source()} {X264} -bf 2 -g 16 -x264opts open-gop=1",
    "intra_refresh.mp4": f"{source()} {X264} -g 16 -x264opts intra-refresh=1",
    "interlaced.ts": f"{source(seconds=1)} {X264} -bf 2 -g 16 -flags +ilme+ildct",
    "full_range.mp4": f"{source(seconds=1)} -vf scale=out_range=full {X264} -color_range pc",
    "bt709.mp4": f"{source(seconds=1)} -vf scale=out_color_matrix=bt709 {X264} -colorspace bt709",
    "wide_pixels.mp4": f"{source(seconds=1)} -vf setsar=16/11 {X264}",
    "wide_pixels_rotated.mp4": "-i wide_pixels.mp4 -c copy -metadata:s:v rotate=270",
    "ten_bit.mp4": f"{source(seconds=1)} {X264} -pix_fmt yuv420p10le",
    "twelve_bit.mp4": f"{source(seconds=1)} {X265} -crf 34 -pix_fmt yuv420p12le",
    "odd_size.webm": f"{source(seconds=1)} -vf scale=65:49 -c:v libvpx-vp9 -crf 50 -b:v 0 -bitexact",
    "vp8.webm": f"{source(seconds=1)} -c:v libvpx -crf 50 -b:v 60k -auto-alt-ref 1 -lag-in-frames 10 -bitexact",
    "mpeg4.avi": f"{source(seconds=1)} -c:v mpeg4 -q:v 20 -g 12 -bitexact",
    "program_stream.mpg": f"{source(seconds=1)} -c:v mpeg2video -q:v 20 -bf 2 -bitexact",
    "delays.gif": f"{source(rate='10', seconds=2)} -vf select='not(mod(n\\,4))+gt(n\\,10)' -fps_mode vfr",
    "one_frame.mp4": f"{source()} -frames:v 1 {X264}",
    "cover_art.m4a": (
        f"-f lavfi -i sine=duration=0.2 {source()} -map 0 -map 1 -c:v mjpeg -frames:v 1 -disposition:v attached_pic"
    ),
}
UNDECODABLE_CLIPS = ("encrypted.mp4", "cover_art.m4a")


def run(program: str, arguments: Sequence[str], directory: Path = HERE) -> bytes:
    """Return what ``program`` writes to its standard output."""
    command = [program, "-v", "error", *arguments]
    return subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def make_clips(directory: Path) -> None:
    """Draw every clip into ``directory``."""
    for name, arguments in CLIPS.items():
        run("ffmpeg", ["-y", *arguments.replace("'", "").split(), name], directory)


def probe_frames(path: Path) -> tuple[dict, list[int | None]]:
    """Return ffprobe's account of the video stream and the timestamps of its frames, as they come.

    An AVI has decoding times alone, and ffprobe knows none for the frames that come last.
    """
    entries = "stream=width,height,sample_aspect_ratio,time_base:stream_side_data=rotation"
    entries += ":frame=best_effort_timestamp,pkt_dts"
    found = json.loads(run("ffprobe", ["-select_streams", "v:0", "-show_entries", entries, "-of", "json", str(path)]))
    times = [frame.get("best_effort_timestamp", frame.get("pkt_dts")) for frame in found["frames"]]
    return found["streams"][0], times


def runs_of_gaps(timestamps: Sequence[int | None]) -> list[list[int]]:
    """Return [gap, how often in a row] for the gaps between ``timestamps``."""
    gaps = np.diff([time for time in timestamps if time is not None]).tolist()
    return [[gap, len(list(same))] for gap, same in groupby(gaps)]


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Return the mean colours, (8, 8, 3) float64, of an even 8 x 8 grid over ``picture`` (H, W, 3)."""
    for axis in (0, 1):
        size = picture.shape[axis]
        sums = np.insert(np.cumsum(picture, axis=axis, dtype=np.float64), 0, 0, axis=axis)
        edges = np.linspace(0, size, SIDE + 1)
        low = np.minimum(edges.astype(int), size - 1)
        part = (edges - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        at_edges = np.take(sums, low, axis=axis) * (1 - part) + np.take(sums, low + 1, axis=axis) * part
        picture = np.diff(at_edges, axis=axis) * SIDE / size
    return picture


def thumbnails(path: Path, places: Sequence[int], size: tuple[int, int]) -> dict[str, str]:
    """Return hex thumbnails of the frames at ``places``; ``size`` is (width, height) as ffmpeg's rotation leaves it."""
    chosen = "+".join(f"eq(n\\,{place})" for place in places)
    arguments = ["-i", str(path), "-map", "0:v:0", "-vf", f"select={chosen}", "-fps_mode", "passthrough"]
    raw = run("ffmpeg", [*arguments, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
    pictures = np.frombuffer(raw, np.uint8).reshape(len(places), size[1], size[0], 3)
    means = [np.round(thumbnail(picture)).astype(np.uint8).tobytes().hex() for picture in pictures]
    return dict(zip(map(str, places), means, strict=True))


def golden(path: Path) -> dict:
    """Return what ffmpeg says of the video at ``path``."""
    stream, timestamps = probe_frames(path)
    width, height = stream["width"], stream["height"]
    aspect = Fraction(stream.get("sample_aspect_ratio", "1:1").replace(":", "/").replace("0/1", "1/1"))
    turned = any(abs(data.get("rotation", 0)) == 90 for data in stream.get("side_data_list", []))
    shown = (round(width * aspect), height)
    last = len(timestamps) - 1
    return {
        "size": list(shown[::-1] if turned else shown),
        "time_base": stream["time_base"],
        "frames": len(timestamps),
        "first_timestamp": timestamps[0],
        "gaps": runs_of_gaps(timestamps),
        "thumbnails": thumbnails(path, sorted({0, last // 2, last}), (height, width) if turned else (width, height)),
    }


def write(goldens: dict[str, dict], name: str) -> None:
    """Write ``goldens``, a line a file, to ``name`` beside this script."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in goldens.items()]
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main(what: str, directory: str = "") -> None:
    """Write the goldens of the clips, or of the real media in ``directory``."""
    if what == "clips":
        with tempfile.TemporaryDirectory() as made:
            make_clips(Path(made))
            for name in CLIPS:
                (HERE / "clips" / name).write_bytes((Path(made) / name).read_bytes())
        names = [name for name in CLIPS if name not in UNDECODABLE_CLIPS]
        write({name: golden(HERE / "clips" / name) for name in names}, "clips.json")
        return
    root = Path(directory).resolve()
    paths = {path.name: path for folder in ("samples", "hard") for path in sorted((root / folder).rglob("*"))}
    paths = [path for path in paths.values() if path.suffix in SUFFIXES and not set(path.parts) & set(WITHOUT_GOLDENS)]
    write({path.relative_to(root).as_posix(): golden(path) for path in paths}, "media.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
