"""What is shown of long work: by a clock of our own, a line a minute; and a bar only on a terminal."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from heard_progress import Heard, InterruptAt

from vidpipe.cli.main import main
from vidpipe.cli.progress import Bar, Lines, progress_shown
from vidpipe.pipeline.errors import named
from vidpipe.pipeline.execution import SILENT, under_way


class FakeMinutes:
    """A clock that stands still until `pass_minute`, and the wait of a thread that goes by it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self._asked, self._go = threading.Semaphore(0), threading.Semaphore(0)

    def clock(self) -> float:
        """Return the time."""
        return self.seconds

    def wait(self, over: threading.Event, seconds: float) -> bool:
        """Return when a minute has passed by this clock."""
        assert seconds == 60
        self._asked.release()
        while not self._go.acquire(timeout=0.01):
            if over.is_set():
                return True
        return over.is_set()

    def pass_minute(self) -> None:
        """Let one minute pass, and return when whoever waited for it has done what it does and waits again."""
        assert self._asked.acquire(timeout=20)
        self.seconds += 60
        self._go.release()
        assert self._asked.acquire(timeout=20)
        self._asked.release()


def lines_and_minutes() -> tuple[Lines, list[str], FakeMinutes]:
    written: list[str] = []
    minutes = FakeMinutes()
    return Lines(written.append, clock=minutes.clock, wait=minutes.wait), written, minutes


def test_a_line_a_minute_even_where_nothing_is_finished_and_one_at_the_end():
    lines, written, minutes = lines_and_minutes()
    lines.begin("extract", total=1200, unit="video")
    minutes.pass_minute()
    assert written == ["extract: 0 of 1,200 videos after 60 s"]
    for _ in range(300):
        lines.advance()
    assert len(written) == 1
    minutes.pass_minute()
    assert written[1:] == ["extract: 300 of 1,200 videos after 2 min, about 6 min to go"]
    lines.advance(900)
    lines.end()
    assert written[2:] == ["extract: 1,200 of 1,200 videos in 2 min"]


def test_what_was_done_before_does_not_make_the_rest_look_faster():
    lines, written, minutes = lines_and_minutes()
    lines.begin("training", total=1000, unit="step", done=900)
    lines.advance(10)
    minutes.pass_minute()
    assert written == ["training: 910 of 1,000 steps after 60 s, about 9 min to go"]
    lines.end()


def test_the_first_epoch_says_nothing_about_the_pace_of_the_others():
    lines, written, minutes = lines_and_minutes()
    lines.begin("training", total=50, unit="step", done=3, untypical=7)
    lines.advance(6)
    minutes.pass_minute()
    assert written == ["training: 9 of 50 steps after 60 s, time to go not known yet"]
    lines.advance()
    lines.milestone("epoch 1 of 5: loss 2")
    minutes.pass_minute()  # validation, which decodes its videos too
    assert written[1:] == ["epoch 1 of 5: loss 2", "training: 10 of 50 steps after 2 min, time to go not known yet"]
    lines.advance()
    for _ in range(9):
        minutes.seconds += 2
        lines.advance()
    lines.milestone("epoch 2 of 5: loss 1")
    assert written[3:] == ["epoch 2 of 5: loss 1; about 60 s to go"]
    minutes.pass_minute()
    assert written[4:] == ["training: 20 of 50 steps after 3 min, about 4 min to go"]
    lines.end()


def test_a_notice_is_a_line_at_any_time_and_no_failure(capsys: pytest.CaptureFixture[str]):
    lines, written, _ = lines_and_minutes()
    lines.notice(f"see {named('val_fraction')}")
    assert written == ["see --val-fraction"]
    bar = Bar()
    bar.notice("before")
    with under_way(bar, "training", total=2, unit="step"):
        bar.notice(f"within, {named('out')}")
        bar.advance()
    shown = capsys.readouterr().err
    assert "before" in shown and "within, --out" in shown and "failed" not in shown


def test_a_bar_foresees_nothing_before_the_first_epoch_is_over(capsys: pytest.CaptureFixture[str]):
    bar = Bar()
    bar.begin("training", total=40, unit="step", done=2, untypical=8)
    bar.advance(7)
    first = capsys.readouterr().err
    assert " 2/40 [00:00, " in first and "<" not in first
    bar.advance()
    bar.advance(10)
    bar.end()
    later = capsys.readouterr().err
    assert " 10/40 [00:00<" in later and " 20/40 [00:00<" in later


def test_short_work_says_nothing_but_notes_and_milestones():
    lines, written, _ = lines_and_minutes()
    with under_way(lines, "training", total=2, unit="step"):
        lines.advance(note=f"failed: v7: lower {named('val_fraction')}")
        lines.milestone("epoch 1 of 1: loss 0.5")
    assert written == ["failed: v7: lower --val-fraction", "epoch 1 of 1: loss 0.5"]


def test_one_stretch_of_work_after_the_other_is_counted_by_itself():
    lines, written, minutes = lines_and_minutes()
    for name in ("fast", "cheap"):
        with under_way(lines, name, total=8, unit="video"):
            lines.advance(4)
            minutes.seconds += 60
    assert written == ["fast: 4 of 8 videos in 60 s", "cheap: 4 of 8 videos in 60 s"]


def test_no_thread_is_left_when_work_fails():
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), under_way(Lines(), "extract", total=1, unit="video"):
        (own,) = set(threading.enumerate()) - before
        raise ZeroDivisionError
    own.join(timeout=20)
    assert not own.is_alive()


def test_a_bar_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(progress_shown(), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(progress_shown(), Bar)


def test_a_bar_counts_and_says_how_many_failed(capsys: pytest.CaptureFixture[str]):
    bar = Bar()
    with under_way(bar, "sweep", total=4, unit="run", done=1):
        bar.advance(note="failed: gru: no memory")
        bar.advance()
        bar.milestone("epoch 2")
    shown = capsys.readouterr().err
    assert "failed: gru: no memory" in shown
    assert "3/4" in shown and "sweep" in shown and "epoch 2; 1 failed" in shown


@pytest.mark.parametrize("ends", [lambda: None, InterruptAt(3).advance])
def test_work_that_is_under_way_comes_to_an_end(ends: Callable[[], None]):
    heard = Heard()
    with under_way(heard, "reading", total=3, unit="file", done=1):
        heard.advance(2)
    assert heard.calls == ["reading: 1 of 3 files", "2", "end"]
    ends()


def test_silence_is_a_progress(capsys: pytest.CaptureFixture[str]):
    with under_way(SILENT, "reading", total=1, unit="file") as silent:
        silent.advance(note="failed")
        silent.milestone("half")
        silent.notice("full")
    assert capsys.readouterr() == ("", "")


def test_commands_show_it_on_stderr_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    heard = Heard()
    monkeypatch.setattr("vidpipe.cli.manifest.progress_shown", lambda: heard)
    (tmp_path / "m.csv").write_text("path,label,split\na.mp4,x,train\nb.mp4,y,train\n")
    result = CliRunner().invoke(main, ["manifest", "check", str(tmp_path / "m.csv")])
    assert result.exit_code == 3, result.output
    assert heard.calls == ["probing: 0 of 2 files", "1", "1", "end"]
    assert "missing" in result.stdout
