"""What to know of a video that can be used all the same: gaps, joins, changes, and figures that cannot be right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...pipeline.manifests.manifest import Video
from ...pipeline.videos.reader import Change, VideoInfo

GAP, IN_GAP = "gap", "interval in a gap"
RATE, DURATION = "implausible rate", "implausible duration"
RESTART, APPENDED, STREAMS = "timestamps begin again", "second file", "several videos"
SIZE, ROTATION, PIXEL_FORMAT = "size changes", "rotation changes", "pixel format changes"
HDR, RANGE = "HDR", "dynamic range changes"
NOTE_KINDS = (GAP, IN_GAP, RATE, DURATION, RESTART, APPENDED, STREAMS, SIZE, ROTATION, PIXEL_FORMAT, HDR, RANGE)

_MOST_FPS, _LEAST_FPS = 1000, 0.1

# A header may count the sound, which often ends a little later than the pictures.
_DURATION_TOLERANCE = 0.1
_DURATION_TOLERANCE_SECONDS = 1.0

_MOST_NAMED = 3  # of gaps or changes in a video; the others are counted


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know: ``kind`` is one of `NOTE_KINDS`, ``message`` says it in full."""

    kind: str
    message: str


def notes_of(info: VideoInfo) -> tuple[Note, ...]:
    """Return what there is to know of a video."""
    found = [
        _gaps(info),
        _rate(info),
        _duration(info),
        _restarts(info),
        _appended(info),
        _streams(info),
        *_changes(info),
        _hdr(info),
    ]
    return tuple(note for note in found if note is not None)


def _gaps(info: VideoInfo) -> Note | None:
    if not info.gaps:
        return None
    told = [f"from {gap.start:.2f} s to {gap.start + gap.seconds:.2f} s ({gap.seconds:.2f} s)" for gap in info.gaps]
    return Note(GAP, f"{GAP}: no frames {_listed(told)}")


def interval_notes(video: Video, info: VideoInfo) -> tuple[Note, ...]:
    """Return what there is to know of ``start`` and ``end`` of a row, given its file."""
    start, end = video.start or 0.0, info.duration_seconds if video.end is None else video.end
    for gap in info.gaps:
        if gap.start <= start and end <= gap.start + gap.seconds:
            told = f"between start and end ({start:g} s, {end:g} s) there are no frames; the last one before is used"
            return (Note(IN_GAP, f"{IN_GAP}: {told}"),)
    return ()


def _rate(info: VideoInfo) -> Note | None:
    rate = info.shown_fps
    if info.num_frames == 1 or _LEAST_FPS <= rate <= _MOST_FPS:
        return None
    told = f"{rate:,.0f}" if rate >= 1 else f"{rate:.3f}"
    return Note(RATE, f"{RATE}: {told} frames a second ({info.num_frames} in {info.shown_seconds:.4g} s)")


def _duration(info: VideoInfo) -> Note | None:
    if info.header_seconds is None or info.restarts_seconds:
        return None
    # Some headers count from the clock's zero, not from the first frame.
    counted = (info.header_seconds, info.header_seconds - info.first_pts_seconds)
    off = min(abs(seconds - info.duration_seconds) for seconds in counted)
    if off <= max(_DURATION_TOLERANCE_SECONDS, _DURATION_TOLERANCE * info.duration_seconds):
        return None
    says = f"the file says {info.header_seconds:.2f} s, its frames last {info.duration_seconds:.2f} s"
    return Note(DURATION, f"{DURATION}: {says}")


def _restarts(info: VideoInfo) -> Note | None:
    if not info.restarts_seconds:
        return None
    told = _listed([f"at {seconds:.2f} s" for seconds in info.restarts_seconds])
    return Note(RESTART, f"{RESTART} {told}: {len(info.restarts_seconds) + 1} parts, shown one after the other")


def _appended(info: VideoInfo) -> Note | None:
    if info.appended_at is None:
        return None
    return Note(APPENDED, f"{APPENDED}: another begins at byte {info.appended_at}, and only the first is read")


def _streams(info: VideoInfo) -> Note | None:
    if info.num_video_streams == 1:
        return None
    read = f"only one is read ({info.codec}, {info.width}×{info.height}, {info.num_frames} frames)"
    return Note(STREAMS, f"{STREAMS}: the file has {info.num_video_streams} video streams, and {read}")


def _changes(info: VideoInfo) -> list[Note | None]:
    return [
        _change(info.changes, SIZE, lambda change: _pair(change, "width", "height")),
        _change(info.changes, ROTATION, lambda change: _pair(change, "rotation")),
        _change(info.changes, PIXEL_FORMAT, lambda change: _pair(change, "pixel_format")),
        _change(info.changes, RANGE, lambda change: (change.before.hdr or "SDR", change.after.hdr or "SDR")),
    ]


def _hdr(info: VideoInfo) -> Note | None:
    return Note(HDR, f"{HDR} ({info.hdr})") if info.hdr else None


def _pair(change: Change, *fields: str) -> tuple[str, str]:
    """Return the values of ``fields`` before and after a change, as they are shown."""
    before, after = ("×".join(str(getattr(form, field)) for field in fields) for form in (change.before, change.after))
    return before, after


def _change(changes: Sequence[Change], kind: str, pair_of: Callable[[Change], tuple[str, str]]) -> Note | None:
    unit = "°" if kind == ROTATION else ""
    told = [
        f"from {before}{unit} to {after}{unit} at {change.seconds:.2f} s (frame {change.frame})"
        for change in changes
        for before, after in [pair_of(change)]
        if before != after
    ]
    return Note(kind, f"{kind} {_listed(told)}") if told else None


def _listed(told: Sequence[str]) -> str:
    """Return the first few of ``told``, and how many more there are."""
    more = len(told) - _MOST_NAMED
    return ", ".join(told[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
