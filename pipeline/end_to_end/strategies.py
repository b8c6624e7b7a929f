"""How the N clips of a video share a machine's memory in end-to-end training: the strategies, by name."""

from dataclasses import dataclass

from ..errors import SettingsError

PLAIN, BATCH_REDUCTION, MULTI_ITERATION = "plain", "batch-reduction", "multi-iteration"
CHECKPOINT, TWO_PASS = "checkpoint", "two-pass"
STRATEGIES = (PLAIN, BATCH_REDUCTION, MULTI_ITERATION, CHECKPOINT, TWO_PASS)
GRANULARITIES = ("backbone", "stage", "block")


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategySettings:
    """Which strategy, and its settings.

    Attributes:
        name: one of `STRATEGIES`.
        granularity: of "checkpoint": what is computed again at once, one of `GRANULARITIES`.
        clips_at_once: how many of a video's N clips go through a backbone in one call; None = all of them, or one with
            "multi-iteration" and "two-pass". Batch norms that track see the clips of one call.
    """

    name: str = PLAIN
    granularity: str = "stage"
    clips_at_once: int | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: at the first that cannot be.
        """
        if self.name not in STRATEGIES:
            raise SettingsError(f"--strategy must be one of {', '.join(STRATEGIES)}; got {self.name!r}")
        if self.granularity not in GRANULARITIES:
            raise SettingsError(f"--granularity must be one of {', '.join(GRANULARITIES)}; got {self.granularity!r}")
        if self.clips_at_once is not None and self.clips_at_once < 1:
            raise SettingsError(f"--clips-at-once must be at least 1; got {self.clips_at_once}")
        if self.name == MULTI_ITERATION and self.clips_at_once not in (None, 1):
            raise SettingsError("multi-iteration runs one clip of each video an iteration; leave --clips-at-once out")

    def clips_per_call(self, num_clips: int) -> int:
        """Return how many of ``num_clips`` clips of a video go through a backbone in one call."""
        default = 1 if self.name in (MULTI_ITERATION, TWO_PASS) else num_clips
        return min(self.clips_at_once or default, num_clips)


FROZEN, TRACKED = "frozen", "tracked"


STATISTICS = (FROZEN, TRACKED)
