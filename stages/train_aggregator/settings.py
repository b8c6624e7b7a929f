"""The settings of training an aggregator."""

from dataclasses import field
from pathlib import Path

from ...pipeline.aggregators.options import NamedValue
from ...pipeline.errors import SettingsError, named
from ...pipeline.features.patterns import Pattern
from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.training.settings import OptimisationSettings

AGGREGATOR_NAMES = "aggregators.registry:AGGREGATORS"
# For small aggregators on cached maps, of few videos and of many. Other presets have the paper's recipe for Kinetics.
OPTIMISATION = OptimisationSettings(
    epochs=40, batch_size=16, optimizer="adamw", learning_rate=1e-3, weight_decay=1e-2, clip_norm=1.0
)


@settings
class TrainAggregatorSettings:
    """What to train, on what, and how."""

    store: Path = setting(help="Feature store that vidpipe extract made.")
    out: Path = setting(help="Run directory; an unfinished run goes on.")
    aggregator: str = setting(default="fast-gru", help="What to train.", names=AGGREGATOR_NAMES)
    pattern: Pattern | None = setting(
        default=None,
        help="Which clips are expensive: E:C (as 1:3), first, all-expensive or all-cheap.",
        unset="as extracted",
    )
    num_clips: int | None = setting(default=None, help="Clips of a video.", at_least=1, unset="all that are stored")
    expensive: str | None = setting(
        default=None, help="Name of the expensive backbone.", unset="the one extracted as such"
    )
    cheap: str | None = setting(default=None, help="Name of the cheap backbone.", unset="the one extracted as such")
    split: str = setting(default="train", help="The videos to train on.")
    splits: Path | None = setting(
        default=None,
        help="Manifest of the same videos whose splits count in place of the store's, such as UCF-101's second. Only "
        "for backbones that saw none of these videos.",
    )
    val_fraction: float = setting(
        default=0.15,
        help="Share of them held out, class by class, to choose the best epoch; 0: the last epoch is best.",
        at_least=0,
        below=1,
    )
    dropout: float = setting(default=0.5, help="Before the classifier.", at_least=0, below=1)
    reduction: int = setting(
        default=4, help="Factor by which FAST-GRU's gates, memories and contexts compress the channels.", at_least=1
    )
    options: tuple[NamedValue, ...] = setting(
        default=(), help="A hyper-parameter of the aggregator's own; may be repeated.", metavar="NAME=VALUE"
    )
    width: int | None = setting(
        default=None, help="Channels at which both backbones' maps meet.", at_least=1, unset="the wider one's"
    )
    optimisation: OptimisationSettings = field(default_factory=lambda: OPTIMISATION)
    device: str = setting(default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1.")
    cache_gib: float = setting(default=4.0, help="Keep the maps in memory if they fit in this.", at_least=0)
    local_copies: Path | None = setting(
        default=None,
        help="A folder of this machine where the maps are copied once, for all runs that name it.",
        unset="the maps are read from the store",
    )

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        check_fields(self)
        if self.optimisation.patience and not self.val_fraction:
            raise SettingsError(
                f"{named('patience')} needs videos to validate on; give {named('val_fraction')} 0.15, or "
                f"{named('patience')} 0"
            )
