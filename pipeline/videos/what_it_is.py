"""What a file is that is no video: people's folders hold web pages, pointers, archives and unfinished downloads."""

from collections.abc import Iterator
from pathlib import Path

from ..errors import VideoError

_HEAD_BYTES = 4096

# How archives and the like begin, and what they are. None of these is how a video begins.
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
_LFS, _ANNEX = b"version https://git-lfs.github.com/", b"/annex/objects/"

# Names that browsers and downloaders give to what they have not finished.
_UNFINISHED_SUFFIXES = (
    ".part",
    ".crdownload",
    ".download",
    ".partial",
    ".opdownload",
    ".ytdl",
    ".!ut",
    ".aria2",
    ".tmp",
)

# ISO base media: top-level boxes that such a file can begin with, and those that hold an index.
_BEGINNINGS = (b"ftyp", b"mdat", b"free", b"skip", b"wide", b"styp", b"moov", b"pnot", b"uuid")
_INDEXES = (b"moov", b"moof", b"meta")

_PICTURE_BRANDS = ("avif", "heic", "heix", "heim", "heis", "mif1")


def check_is_file(path: Path) -> None:
    """Refuse what cannot be read as a file.

    Raises:
        VideoError: saying what it is instead.
    """
    try:
        if path.is_file():
            return
        if path.is_dir():
            raise VideoError("is a folder, not a file")
        if path.exists():
            raise VideoError("is no file, but a device, a pipe or a socket")
        if path.is_symlink():
            raise VideoError(_bad_link(path))
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    raise VideoError("no such file")


def _bad_link(path: Path) -> str:
    target = path.readlink()
    try:
        path.stat()
    except FileNotFoundError:
        return f"is a link to {target}, which is not there"
    except OSError:
        pass
    return f"is a link that leads back to itself ({target})"


def check_beginning(path: Path) -> None:
    """Refuse a file whose first bytes show that it is something else than a video.

    Raises:
        VideoError: saying what it is, and what to do.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if size == 0:
        raise VideoError("is empty (0 bytes): download or copy it again")
    if found := _no_video(head, path, size):
        raise VideoError(found)


def _no_video(head: bytes, path: Path, size: int) -> str | None:
    """Return what a file that begins with ``head`` is, if that is surely no video."""
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin.startswith(_LFS):
        return "is a Git LFS pointer, not the video itself: fetch it with `git lfs pull`"
    if size < _HEAD_BYTES and _ANNEX in head:
        return "is a git-annex pointer, not the video itself: fetch it with `git annex get`"
    if begin[:512].lower().startswith(_HTML) or (begin.startswith(b"<") and b"<html" in begin[:2048].lower()):
        return "is a web page (HTML), not a video: links that have expired give such files; download it again"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return f"is {name}, not a video" + (": unpack it" if "archive" in name else "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" in head[:512]:
        return "is an animated WebP, which FFmpeg does not decode: convert it to a video, an animated PNG or an AVIF"
    if not any(head) and _all_zeros(path):
        return "holds zeros alone: it was given its size but never written; download or copy it again"
    return None


def _all_zeros(path: Path) -> bool:
    with path.open("rb") as file:
        return all(not any(block) for block in iter(lambda: file.read(1 << 20), b""))


def why_not_opened(path: Path) -> str | None:
    """Return why no demuxer understands a file, as far as its bytes tell; None if they do not."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = _box_trouble(path) if head[4:8] in _BEGINNINGS else _text_kind(head)
    if path.suffix.lower() in _UNFINISHED_SUFFIXES:
        return (found or "cannot be read") + f"; by its name ({path.suffix}) the download is not finished"
    return found


def _text_kind(head: bytes) -> str | None:
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return None
    kind = "JSON" if head.lstrip()[:1] in (b"{", b"[") else "XML" if head.lstrip()[:1] == b"<" else "text"
    return f"is {kind}, not a video"


def _box_trouble(path: Path) -> str | None:
    """Return what an MP4 or QuickTime file lacks."""
    size, boxes = path.stat().st_size, list(_boxes(path))
    kinds = [kind for kind, _ in boxes]
    cut = boxes[-1][1] > size
    if not set(kinds) & set(_INDEXES):
        return "lacks its index (moov): an MP4 whose download or recording was not finished"
    if cut and kinds[-1] in _INDEXES:
        return f"is cut short within its index (moov): {size:,} of {boxes[-1][1]:,} bytes are there"
    return None


def _boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the kind of each top-level box of an MP4 file, and where it ends by its own account."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - at
            at += max(length, 8)
            yield head[4:8], at


def picture_name(container: str, *, brand: str, codec: str, num_packets: int) -> str | None:
    """Return what kind of picture a file is, as ``PNG``; None if it is a video, an animation or a GIF.

    Args:
        container: the demuxer's name.
        brand: of an MP4-like file; "" of others.
        codec: of its stream.
        num_packets: how many the stream has.
    """
    if num_packets > 1:
        return None
    if container == "image2" or container.endswith("_pipe"):
        return "JPEG" if codec == "mjpeg" else codec.upper()
    if brand in _PICTURE_BRANDS:
        return "AVIF" if brand == "avif" else "HEIF"
    return None
