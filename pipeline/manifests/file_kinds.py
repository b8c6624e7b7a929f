"""Which files are videos: by their names, and where the name does not say, by their first bytes."""

from pathlib import PurePath

VIDEO_EXTENSIONS = frozenset(
    {
        *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    }
)
FIRST_BYTES = 4096  # of a file that are looked at; the header of an Ogg or PNG file lies within
_UNFINISHED = frozenset({".part", ".crdownload", ".download", ".partial", ".tmp", ".temp", ".aria2"})
_SOUND = frozenset({".aac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".weba", ".wma"})
_NO_VIDEOS = frozenset(  # what lies beside videos; not looked into, since there may be millions
    {
        *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".npy", ".npz", ".pt", ".pth", ".pkl", ".h5", ".hdf5"),
        *(".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".pdf", ".doc", ".ini"),
        *(".srt", ".vtt", ".ass", ".py", ".sh", ".log", ".zip", ".tar", ".gz", ".rar", ".7z", ".db", ".parquet"),
    }
)
_NEVER = _UNFINISHED | _NO_VIDEOS | _SOUND
_MPEG_TS_PACKET = 188  # bytes, each packet begins with 0x47 ("G"); M2TS puts 4 bytes before each
# The first brand of ISO files that hold sound or a still picture, unless another brand says that it is animated.
_STILL_OR_SOUND = frozenset({b"M4A ", b"M4B ", b"M4P ", b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx "})
_SIGNATURES = (
    *(b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba"),  # Matroska, Flash, ASF, MPEG-PS
    *(b"\0\0\x01\xb3", b"GIF87a", b"GIF89a", b"\x06\x0e+4\x02\x05\x01\x01"),  # MPEG video, GIF, MXF
    *(b"DKIF", b"YUV4MPEG2 ", b".RMF"),  # IVF, Y4M, RealMedia
)


def is_named_video(name: str) -> bool:
    """Return whether a file's name ends as a video's does."""
    return PurePath(name).suffix.lower() in VIDEO_EXTENSIONS


def may_be_video(name: str) -> bool:
    """Return whether a file without a video's name could be one, so that its first bytes are worth a look."""
    return PurePath(name).suffix.lower() not in _NEVER


def holds_video(first: bytes) -> bool:
    """Return whether a file that begins with these bytes is of a kind that holds video (or animation)."""
    return (
        first.startswith(_SIGNATURES)
        or _is_iso(first)
        or (first[:4] == b"RIFF" and (first[8:11] == b"AVI" or _is_animated_webp(first)))
        or (first[:4] == b"OggS" and any(kind in first for kind in (b"\x80theora", b"BBCD\0", b"OVP80")))
        or (first[:8] == b"\x89PNG\r\n\x1a\n" and b"acTL" in first)
        or _is_transport_stream(first)
    )


def _is_iso(first: bytes) -> bool:
    """Return whether it is MP4, MOV or 3GP, or an animated picture of that family."""
    kind, brands = first[4:8], first[8 : int.from_bytes(first[:4], "big")]
    if kind == b"ftyp":
        return brands[:4] not in _STILL_OR_SOUND or b"avis" in brands or b"msf1" in brands
    return kind in (b"moov", b"mdat", b"wide", b"skip", b"free") and len(first) > 16  # QuickTime's older files


def _is_animated_webp(first: bytes) -> bool:
    return first[8:16] == b"WEBPVP8X" and len(first) > 20 and bool(first[20] & 2)


def _is_transport_stream(first: bytes) -> bool:
    return any(
        len(first) > begin + 4 * step and all(first[begin + i * step] == 0x47 for i in range(5))
        for begin, step in ((0, _MPEG_TS_PACKET), (4, _MPEG_TS_PACKET + 4))
    )
