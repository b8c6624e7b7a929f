"""A command's progress on stderr: a bar if that is a terminal, otherwise a line a minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from ..pipeline.errors import spelled
from .spelling import option_name
from .tables import duration_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..pipeline.execution import Progress

_SECONDS_A_LINE = 60.0
Write = Callable[[str], None]
Clock = Callable[[], float]


def progress_shown() -> "Progress":
    """Return an object that shows a stage's progress on stderr."""
    return Bar() if sys.stderr.isatty() else Lines()


def show_warnings(warnings: Iterable[str]) -> None:
    """Say on stderr what looks wrong with a result."""
    for text in warnings:
        click.echo(f"Warning: {text}.", err=True)


class Bar:
    """A bar for each piece of work, with notes above it, and behind it the last milestone and the number of notes."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._notes, self._milestone = 0, ""

    def begin(self, what: str, *, total: int, unit: str, done: int = 0) -> None:
        """Draw an empty bar."""
        from tqdm import tqdm

        self._notes, self._milestone = 0, ""
        # A slow average for the time left: videos differ much in length.
        self._bar = tqdm(total=total, initial=done, unit=unit, desc=what, smoothing=0.1)

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Move the bar."""
        if self._bar is None:
            return
        if note:
            self._notes += 1
            self._bar.write(spelled(note, option_name), file=sys.stderr)
            self._show_words()
        self._bar.update(number)

    def milestone(self, text: str) -> None:
        """Show ``text`` behind the bar, until the next one; on a line of its own where there is no bar yet."""
        if self._bar is None:
            click.echo(text, err=True)
            return
        self._milestone = text
        self._show_words()

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _show_words(self) -> None:
        failed = f"{self._notes} failed" if self._notes else ""
        if self._bar is not None:
            self._bar.set_postfix_str("; ".join(filter(None, (self._milestone, failed))))


class Lines:
    """A line a minute, whether or not anything was finished; notes and milestones as they come.

    Args:
        write: takes a line without its end.
        clock: returns seconds.
        wait: returns after so many seconds, or as soon as the event is set, and returns whether it is set.
    """

    def __init__(
        self,
        write: Write = lambda line: click.echo(line, err=True),
        *,
        clock: Clock = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._write, self._clock, self._wait = write, clock, wait
        self._lock = threading.Lock()
        self._over: threading.Event | None = None
        self._what, self._units, self._total, self._before, self._done, self._began = "", "", 0, 0, 0, 0.0

    def begin(self, what: str, *, total: int, unit: str, done: int = 0) -> None:
        """Start the clock."""
        self._what, self._units, self._total, self._before, self._done = what, f"{unit}s", total, done, done
        self._began, self._over = self._clock(), threading.Event()
        # A thread, because a single step may take minutes; a daemon, so that it never keeps the process alive.
        threading.Thread(target=self._tick, args=(self._over,), name="progress", daemon=True).start()

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Count, and write a note at once."""
        with self._lock:
            self._done += number
        if note:
            self._write(spelled(note, option_name))

    def milestone(self, text: str) -> None:
        """Write ``text``."""
        self._write(text)

    def end(self) -> None:
        """Stop the clock, with a line if there was one before."""
        if self._over is None:
            return
        self._over.set()
        self._over = None
        if (taken := self._clock() - self._began) >= _SECONDS_A_LINE:
            self._write(f"{self._counts()} in {duration_text(taken)}")

    def _tick(self, over: threading.Event) -> None:
        while not self._wait(over, _SECONDS_A_LINE):
            self._write(self._line())

    def _line(self) -> str:
        taken, new, left = self._clock() - self._began, self._done - self._before, self._total - self._done
        to_go = f", about {duration_text(taken / new * left)} to go" if new and left > 0 else ""
        return f"{self._counts()} after {duration_text(taken)}{to_go}"

    def _counts(self) -> str:
        return f"{self._what}: {self._done:,} of {self._total:,} {self._units}"
