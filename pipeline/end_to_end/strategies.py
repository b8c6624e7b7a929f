"""How the N clips of a video share a machine's memory in end-to-end training: the strategies, by name."""

from ..errors import SettingsError, named
from ..settings import check_fields, setting, settings

PLAIN, BATCH_REDUCTION, MULTI_ITERATION = "plain", "batch-reduction", "multi-iteration"
CHECKPOINT, TWO_PASS = "checkpoint", "two-pass"
STRATEGIES = (PLAIN, BATCH_REDUCTION, MULTI_ITERATION, CHECKPOINT, TWO_PASS)
GRANULARITIES = ("backbone", "stage", "block")


@settings
class StrategySettings:
    """How the clips of a video share the memory in training."""

    name: str = setting(
        default=PLAIN,
        help="How clips share the memory: plain, checkpoint, two-pass (the same gradients); batch-reduction, "
        "multi-iteration.",
        choices=STRATEGIES,
    )
    granularity: str = setting(
        default="stage", help="Of checkpoint: what is computed again at once.", choices=GRANULARITIES
    )
    clips_at_once: int | None = setting(
        default=None,
        help="Clips of a video in one call of a backbone; batch norms that track see these.",
        at_least=1,
        unset="all; one by two-pass and multi-iteration",
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: for the first field that is out of range.
        """
        check_fields(self)
        if self.name == MULTI_ITERATION and self.clips_at_once not in (None, 1):
            raise SettingsError(
                f"multi-iteration runs one clip of each video an iteration; leave {named('clips_at_once')} out"
            )

    def clips_per_call(self, num_clips: int) -> int:
        """Return how many of ``num_clips`` clips of a video go through a backbone in one call."""
        default = 1 if self.name in (MULTI_ITERATION, TWO_PASS) else num_clips
        return min(self.clips_at_once or default, num_clips)


FROZEN, TRACKED = "frozen", "tracked"


STATISTICS = (FROZEN, TRACKED)
