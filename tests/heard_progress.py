"""Progress that notes what it is told."""


class Heard:
    """Notes every call as text, and counts what is done.

    Attributes:
        calls: "what: done of total units", a number, a note, a milestone, or "end".
        done: all that was advanced.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.done = 0

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:
        """Note it."""
        words = f", the next {untypical} untypical" if untypical else ""
        self.calls.append(f"{what}: {done} of {total} {unit}s{words}")

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Note it."""
        self.done += number
        self.calls.append(note or str(number))

    def milestone(self, text: str) -> None:
        """Note it."""
        self.calls.append(text)

    def notice(self, text: str) -> None:
        """Note it."""
        self.calls.append(text)

    def end(self) -> None:
        """Note it."""
        self.calls.append("end")


class InterruptAt(Heard):
    """Stands for somebody who presses Ctrl-C when so many are done."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Note it, and interrupt."""
        super().advance(number, note=note)
        if self.done >= self._number:
            raise KeyboardInterrupt
