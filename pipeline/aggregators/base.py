"""What every aggregator is: a module from the clips of a video to the scores of the video."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from torch import Tensor, nn

from ..errors import SettingsError, named
from .options import Option, Value

# Weights files have held a reduction since before aggregators could declare options of their own. So it stays a field
# of every spec, even where the aggregator does not use it.
REDUCTION = Option(
    default=4, least=1, help="Factor by which a gate's bottleneck, or a memory, compresses the channels."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorSpec:
    """Everything needed to build an aggregator; a family reads the fields that mean something to it.

    Attributes:
        name: the family, as registered.
        channels: C of the feature maps.
        num_classes: K.
        dropout: share of the pooled features dropped before the last linear layer, in training.
        reduction: r, the factor by which a gate's bottleneck, or a memory, compresses the channels.
        options: the family's other hyper-parameters, by the names that its entry declares; a missing one has its
            default.
    """

    name: str
    channels: int
    num_classes: int
    dropout: float = 0.5
    reduction: int = 4
    options: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check the fields that mean the same to every family.

        Raises:
            SettingsError: if dropout or reduction is out of range.
        """
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"{named('dropout')} must be in [0, 1); got {self.dropout}")
        if self.reduction < 1:
            raise SettingsError(f"{named('reduction')} must be at least 1; got {self.reduction}")
        # A copy, so that nobody changes a frozen spec through the mapping it was made from.
        object.__setattr__(self, "options", dict(self.options))

    def record(self) -> dict[str, Any]:
        """Return the fields as JSON values, as files keep them: ``options`` only where there are some."""
        # Left out when empty: files without options stay, byte for byte, what they were before options existed.
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        options = dict(own.pop("options"))
        return own | ({"options": options} if options else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorEntry:
    """What the registry knows about an aggregator.

    Attributes:
        build: makes it, with fresh weights, from a spec whose options are complete.
        title: its name as papers write it, for tables and pictures.
        summary: one line of what it does.
        source: where it comes from.
        options: its own hyper-parameters, by name, in addition to those that every aggregator has.
    """

    build: "Callable[[AggregatorSpec], Aggregator]"
    title: str
    summary: str
    source: str
    options: Mapping[str, Option] = field(default_factory=dict)


class Aggregator(nn.Module, ABC):
    """Clips of a video -> scores of the video.

    Attributes:
        needs_features: whether it reads feature maps; if not, empty ones (C = 0) will do.
        needs_scores: whether it reads the backbones' clip scores; if not, empty ones (K = 0) will do.
        min_clips: the fewest clips of a video that it can be trained on; it can still score fewer.
    """

    needs_features: ClassVar[bool]
    needs_scores: ClassVar[bool]
    min_clips: ClassVar[int] = 1

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train."""
        return any(True for _ in self.parameters())

    @abstractmethod
    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return the videos' scores.

        Args:
            features: (B, N, T', H', W', C) float, the clips' feature maps in order.
            scores: (B, N, K) float, the clips' own scores, as logits.

        Returns:
            (B, K) float: logits, or log-probabilities; their softmax is the prediction.
        """

    @abstractmethod
    def step(self, state: Any, features: Tensor, scores: Tensor) -> tuple[Any, Tensor]:
        """Take one more clip of a stream and predict: after N steps the same scores as `forward` on N clips.

        Args:
            state: what the last step returned; None before the first clip.
            features: (B, T', H', W', C) float.
            scores: (B, K) float.

        Returns:
            The state to pass on, and (B, K) scores of the clips so far.
        """


def reduced_width(channels: int, *, reduction: int) -> int:
    """Return C / r.

    Raises:
        SettingsError: if r does not divide C.
    """
    if channels % reduction:
        raise SettingsError(f"{named('reduction')} must divide the width of {channels} channels; got {reduction}")
    return channels // reduction


def check_min_clips(name: str, *, num_clips: int, min_clips: int) -> None:
    """Refuse to train the aggregator called ``name`` on fewer clips of a video than it can learn from.

    Raises:
        SettingsError: with the number of clips that it needs.
    """
    if num_clips < min_clips:
        raise SettingsError(
            f"{name} learns what the clips of a video tell one another, from {min_clips} clips or more; got "
            f"{num_clips}. Give {named('num_clips')} of {min_clips} or more, or an aggregator of single clips, "
            "such as multi-clip"
        )
