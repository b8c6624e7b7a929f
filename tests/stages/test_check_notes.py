"""What `check` notes of videos that can be used: it is told in full, and leaves the exit status alone."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from vidpipe.cli.main import main
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.videos.frame_times import Gap
from vidpipe.pipeline.videos.frames import Form
from vidpipe.pipeline.videos.reader import Change, probe
from vidpipe.stages.check_manifest.notes import interval_notes, notes_of


@pytest.fixture(scope="module")
def info(tmp_path_factory, make_video):
    """What a good video of 32 frames at 30 a second holds."""
    return probe(make_video(tmp_path_factory.mktemp("good") / "good.mp4"), decode=True)


def told(info, **changes) -> list[str]:
    return [note.message for note in notes_of(replace(info, **changes))]


def test_a_good_video_has_no_notes(info):
    assert notes_of(info) == ()


def test_gaps_are_listed_and_the_rate_is_that_of_what_is_shown(info):
    gaps = [Gap(start=4.0, seconds=24.5), Gap(start=30.0, seconds=1.5)]
    expected = "gap: no frames from 4.00 s to 28.50 s (24.50 s), from 30.00 s to 31.50 s (1.50 s)"
    own = {"duration_seconds": 1000.0, "header_seconds": 1000.0}
    assert told(info, **own, gaps=(*gaps, Gap(start=32.0, seconds=960.0))) == [
        f"{expected}, from 32.00 s to 992.00 s (960.00 s)"
    ]
    assert told(info, **own, gaps=(*gaps, *[Gap(start=40.0, seconds=300.0)] * 3))[0].startswith(expected)
    assert told(info, **own, gaps=(*gaps, *[Gap(start=40.0, seconds=300.0)] * 3))[0].endswith("and 2 more")


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [(5.0, 20.0, True), (None, None, False), (3.0, 20.0, False), (5.0, 29.0, False), (4.0, 28.5, True)],
)
def test_a_row_whose_part_lies_in_a_gap(info, start, end, told):
    video = Video(video_id="v", path=info.path, labels=(), split="s", start=start, end=end, written_path="v")
    own = replace(info, duration_seconds=40.0, gaps=(Gap(start=4.0, seconds=24.5),))
    expected = f"between start and end ({start} s, {end} s) there are no frames; the last one before is used"
    found = [note.message.replace(".0 s", " s") for note in interval_notes(video, own)]
    assert found == ([f"interval in a gap: {expected}".replace(".0 s", " s")] if told else [])


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (32 / 90000, "implausible rate: 90,000 frames a second (32 in 0.0003556 s)"),
        (640.0, "implausible rate: 0.050 frames a second (32 in 640 s)"),
        (320.0, None),
        (0.032, None),
    ],
)
def test_rates_that_cannot_be(info, seconds, message):
    found = told(info, duration_seconds=seconds, header_seconds=seconds)
    assert found == ([message] if message else [])


def test_a_duration_that_the_frames_do_not_fill(info):
    expected = "implausible duration: the file says 60.00 s, its frames last 1.07 s"
    assert told(info, header_seconds=60.0) == [expected]
    assert told(info, header_seconds=2.0) == []  # the sound ends a little later
    assert told(info, header_seconds=11.07, first_pts_seconds=10.0) == []
    assert told(info, header_seconds=None) == []
    assert told(info, header_seconds=60.0, restarts_seconds=(0.5,)) == [
        "timestamps begin again at 0.50 s: 2 parts, shown one after the other"
    ]


def test_changes_are_told_with_their_time_and_frame(info):
    forms = [Form(96, 192, 0, "yuv420p"), Form(192, 96, 90, "yuv420p"), Form(192, 96, 90, "yuv444p")]
    changes = [
        Change(seconds=0.4, frame=10, before=forms[0], after=forms[1]),
        Change(seconds=0.8, frame=20, before=forms[1], after=forms[2]),
    ]
    assert told(info, changes=tuple(changes)) == [
        "size changes from 96×192 to 192×96 at 0.40 s (frame 10)",
        "rotation changes from 0° to 90° at 0.40 s (frame 10)",
        "pixel format changes from yuv420p to yuv444p at 0.80 s (frame 20)",
    ]
    assert told(info, changes=tuple(changes[:1] * 5))[0].endswith(" and 2 more")


def check(manifest: Path, *options: str):
    return CliRunner().invoke(main, ["manifest", "check", str(manifest), *options])


def manifest_of(folder: Path, *paths: Path) -> Path:
    rows = [f"{path},a,train,{index}" for index, path in enumerate(paths)]
    (folder / "m.csv").write_text("\n".join(["path,label,split,video_id", *rows]) + "\n")
    return folder / "m.csv"


def write_at(path: Path, times: list[int], *, codec: str = "libx264") -> Path:
    """Write a frame at each of ``times``, in ticks of 1/90000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * index % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_notes_stand_in_the_table_and_the_document_and_the_exit_status_is_zero(tmp_path, make_video):
    ticks = write_at(tmp_path / "ticks.mp4", list(range(100)))
    gap = write_at(tmp_path / "gap.mp4", [3600 * index + (index >= 40) * 90000 * 30 for index in range(80)])
    two = [make_video(tmp_path / f"{n}.mp4", seed=n) for n in (1, 2)]
    size = two[0].stat().st_size
    two[0].write_bytes(two[0].read_bytes() + two[1].read_bytes())
    manifest = manifest_of(tmp_path, ticks, gap, two[0], two[1])
    text = check(manifest)
    assert text.exit_code == 0, text.output
    assert "note: implausible rate: 2,4" in text.stdout  # the last frame is given the time of a real one
    assert "note: gap: no frames from 1.60 s to 31.60 s (30.00 s)" in text.stdout
    rates = [line.split("64×48")[1].split("  ")[1:] for line in text.stdout.splitlines() if "gap.mp4" in line]
    assert [row[0].strip() or row[1].strip() for row in rates] == ["25.00/s mean"]  # 2.3 with the gap
    assert f"note: second file: another begins at byte {size}, and only the first is read" in text.stdout
    assert text.stdout.splitlines()[-2:] == [
        "No problems.",
        "3 with notes: 1 gap, 1 implausible rate, 1 second file",
    ]
    document = json.loads(check(manifest, "--json").stdout)
    assert document["notes"] == {"gap": 1, "implausible rate": 1, "second file": 1}
    kinds = [[note["kind"] for note in entry["notes"]] for entry in document["videos"]]
    assert kinds == [["implausible rate"], ["gap"], ["second file"], []]
    assert document["videos"][1]["info"]["gaps"] == [
        {"start": pytest.approx(1.6), "seconds": pytest.approx(30)},
    ]


def test_long_tables_show_videos_with_notes(tmp_path, make_video):
    good, ticks = make_video(tmp_path / "good.mp4"), write_at(tmp_path / "ticks.mp4", list(range(100)))
    text = check(manifest_of(tmp_path, *[good] * 55, ticks)).stdout
    assert "55 videos without problems not shown" in text
    assert "ticks.mp4" in text


@pytest.mark.parametrize("suffix", [".flv", ".wmv"])
def test_a_second_file_is_noticed(tmp_path, make_video, suffix):
    codec = "wmv2" if suffix == ".wmv" else "libx264"
    first, second = (make_video(tmp_path / f"{n}{suffix}", codec=codec, seed=n) for n in (1, 2))
    assert probe(first).appended_at is None
    size = first.stat().st_size
    first.write_bytes(first.read_bytes() + second.read_bytes())
    info = probe(first, decode=True)
    assert (info.appended_at, info.num_frames) == (size, 32)


def test_real_files_that_people_reported(media):
    expected = {
        "event_gap.mp4": "gap: no frames from 4.17 s to 28.67 s (24.50 s)",
        "one_tick_apart.mp4": "implausible rate: 90,000 frames a second (100 in 0.001111 s)",
        "ts_joined_overlap.ts": "timestamps begin again at 4.00 s: 2 parts, shown one after the other",
        "phone_turned.webm": "size changes from 96×192 to 192×96 at 0.40 s (frame 10)",
    }
    for name, message in expected.items():
        assert told(probe(media / "reported" / name, decode=True)) == [message]
    assert notes_of(probe(media / "reported" / "good.mp4", decode=True)) == ()
