"""A command's progress on stderr: a bar if that is a terminal, otherwise a line a minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from ..pipeline.errors import spelled
from .spelling import option_name, reason_text
from .tables import duration_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..pipeline.execution import Progress

_SECONDS_A_LINE = 60.0
# The bar of tqdm without the time left.
_WITHOUT_FORECAST = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
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
        self._notes, self._milestone, self._untypical = 0, "", 0

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:
        """Draw an empty bar."""
        from tqdm import tqdm

        self._notes, self._milestone, self._untypical = 0, "", untypical
        # A slow average for the time left: videos differ much in length.
        form = _WITHOUT_FORECAST if untypical else None
        self._bar = tqdm(total=total, initial=done, unit=unit, desc=what, smoothing=0.1, bar_format=form)

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Move the bar."""
        if self._bar is None:
            return
        if note:
            self._notes += 1
            self._bar.write(reason_text(spelled(note, option_name)), file=sys.stderr)
            self._show_words()
        self._bar.update(number)
        if self._untypical > 0:
            self._untypical -= number
            if self._untypical <= 0:
                self._forecast(self._bar)

    def _forecast(self, bar: "tqdm") -> None:
        """Show the time left from here on, by the pace from here on."""
        done, began = bar.n, bar.start_t
        bar.bar_format = None
        bar.reset()  # forgets the pace, but more than that
        bar.initial = bar.n = bar.last_print_n = done
        bar.start_t = began
        bar.refresh()

    def milestone(self, text: str) -> None:
        """Show ``text`` behind the bar, until the next one; on a line of its own where there is no bar yet."""
        if self._bar is None:
            click.echo(text, err=True)
            return
        self._milestone = text
        self._show_words()

    def notice(self, text: str) -> None:
        """Show ``text`` above the bar."""
        text = spelled(text, option_name)
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.write(text, file=sys.stderr)

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
        self._what, self._units, self._total, self._done, self._began = "", "", 0, 0, 0.0
        self._typical_after = 0
        self._typical_since: float | None = None

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:
        """Start the clock."""
        self._what, self._units, self._total, self._done = what, f"{unit}s", total, done
        self._began, self._over = self._clock(), threading.Event()
        self._typical_after, self._typical_since = done + untypical, None if untypical else self._began
        # A thread, because a single step may take minutes; a daemon, so that it never keeps the process alive.
        threading.Thread(target=self._tick, args=(self._over,), name="progress", daemon=True).start()

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Count, and write a note at once."""
        with self._lock:
            self._done += number
            # The pace counts from the first typical one on: what comes before that, such as a first validation, which
            # decodes its videos, is untypical too.
            if self._typical_since is None and self._done > self._typical_after:
                self._typical_after, self._typical_since = self._done, self._clock()
        if note:
            self._write(reason_text(spelled(note, option_name)))

    def milestone(self, text: str) -> None:
        """Write ``text``, and if work goes on for minutes, for how long."""
        to_go = self._seconds_to_go() if self._over is not None else None
        self._write(f"{text}; about {duration_text(to_go)} to go" if to_go and to_go >= _SECONDS_A_LINE else text)

    def notice(self, text: str) -> None:
        """Write ``text``."""
        self._write(spelled(text, option_name))

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
        to_go = self._seconds_to_go()
        words = f", about {duration_text(to_go)} to go" if to_go else ""
        if self._typical_since is None:
            words = ", time to go not known yet"
        return f"{self._counts()} after {duration_text(self._clock() - self._began)}{words}"

    def _seconds_to_go(self) -> float | None:
        """Return how long the rest will take at the pace so far; None if there is none to go by."""
        if self._typical_since is None or self._done <= self._typical_after:
            return None
        pace = (self._clock() - self._typical_since) / (self._done - self._typical_after)
        return pace * (self._total - self._done)

    def _counts(self) -> str:
        return f"{self._what}: {self._done:,} of {self._total:,} {self._units}"
