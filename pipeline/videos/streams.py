"""How many videos a file holds: one is read, and a check tells of the others."""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from .container import open_container, videos_of

# A transport packet that begins a program map of up to 4,095 bytes (ISO/IEC 13818-1, 2.4.3.2 and 2.4.4.8): FFmpeg reads
# those at the beginning, but a recording that was joined to another has its own.
_PROGRAM_MAP = re.compile(rb"\x47[\x40-\x5f].[\x10-\x1f]\x00(\x02\xb0.{181})", re.DOTALL)
_VIDEO_TYPES = (0x01, 0x02, 0x10, 0x1B, 0x24, 0x33, 0x42, 0xD1, 0xEA)  # MPEG-1, 2, 4; AVC; HEVC; VVC; AVS; Dirac; VC-1


def num_video_streams(path: Path) -> int:
    """Return how many video streams the file at ``path`` holds, cover art not counted; at least 1.

    Raises:
        VideoError: if the file cannot be opened.
    """
    with open_container(path) as container:
        streams, name = videos_of(container), container.format.name
        pids = {stream.id for stream in streams}
    if name != "mpegts":
        return max(1, len(streams))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for section in {found[1] for found in _PROGRAM_MAP.finditer(content)}:
            pids.update(_video_pids(section))
    return max(1, len(pids))


def _video_pids(section: bytes) -> Iterator[int]:
    """Yield the packet identifiers of the videos in a program map, as far as it lies within its first packet."""
    end = min(3 + _number(section[1:3]) - 4, len(section) - 5)  # without its check sum
    at = 12 + _number(section[10:12])
    while at < end:
        if section[at] in _VIDEO_TYPES:
            yield int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF
        at += 5 + _number(section[at + 3 : at + 5])


def _number(two_bytes: bytes) -> int:
    """Return a length of 12 bits."""
    return int.from_bytes(two_bytes, "big") & 0xFFF
