"""What every backbone is: a clip in, its last feature map and its own class scores out."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SettingsError, named


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadRule:
    """How a head makes one score vector of a map; sources differ in it, with the same weights.

    Attributes:
        window: (frames, height, width) over which the map is averaged, at every position (stride 1); None: all of it. A
            side longer than the map's is the map's.
        softmax: whether probabilities are averaged over the positions, not logits. The scores are then the logarithms
            of these averages, so that their softmax is the source's output.
    """

    window: tuple[int, int, int] | None = None
    softmax: bool = False


class Backbone(nn.Module, ABC):
    """A clip network: each family has its own ``features``, and all share one head.

    The head averages the map, passes it through the ``neck`` (of most families the identity), dropout and a linear
    classifier.

    A family that needs several inputs (pathways at other frame rates, say) makes them from the one clip in ``features``
    and gives back their maps joined on one grid, so that engines, stores and aggregators need not know.

    A family may override `stages` and `blocks`, for gradient checkpointing, and `begin_as_identity`, for training from
    scratch.

    Attributes:
        name: the name it is registered under.
        num_classes: K.
        channels: C of the feature map.
        frames_multiple: clips must have a multiple of this many frames.
        head_rule: how the head averages; a matter of the weights' recipe, not of the architecture.
        slow_frames: which frames a slow path takes, in families that have one; likewise a matter of the recipe.
        folds: whether a module with a ``conv`` and a ``norm`` applies the one right after the other; not so in networks
            of other libraries, whose attributes may mean other things.
    """

    folds: ClassVar[bool] = True

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        channels: int,
        dropout: float = 0.0,
        frames_multiple: int = 1,
        neck: nn.Module | None = None,
        neck_channels: int | None = None,
        classifier_bias: bool = True,
    ) -> None:
        """Make the head.

        Args:
            name: as registered.
            num_classes: K.
            channels: C of the feature map.
            dropout: probability of dropping a pooled feature before the classifier, in [0, 1).
            frames_multiple: clips must have a multiple of this many frames.
            neck: (..., C) -> (..., D), between average and dropout; None for the identity.
            neck_channels: D, if there is a neck.
            classifier_bias: whether the classifier has one.
        """
        super().__init__()
        if num_classes < 1:
            raise SettingsError(f"a backbone needs at least one class; got num_classes={num_classes}")
        if not 0.0 <= dropout < 1.0:
            raise SettingsError(f"dropout must lie in [0, 1); got {dropout}")
        self.name = name
        self.num_classes = num_classes
        self.channels = channels
        self.frames_multiple = frames_multiple
        self.head_rule = HeadRule()
        self.slow_frames = "every"
        self.neck = neck or nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(neck_channels or channels, num_classes, bias=classifier_bias)

    @abstractmethod
    def features(self, clip: Tensor) -> Tensor:
        """Return the last feature map.

        Args:
            clip: (B, 3, L, H, W) float, normalised.

        Returns:
            (B, C, T', H', W'), in the clip's dtype.
        """

    @abstractmethod
    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C), the shape in which a store keeps the map of a clip of ``frames`` × ``size``².

        Raises:
            SettingsError: if the backbone cannot take clips of that shape.
        """

    @property
    def classifier(self) -> nn.Linear:
        """The last layer, (B, C) -> (B, K)."""
        return self.fc  # named as in weights files, whose keys must not change

    def renew_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one of so many classes."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.fc.in_features, num_classes, bias=self.fc.bias is not None)
        _initialise_classifier(self.fc)

    def stages(self) -> dict[str, nn.Module]:
        """Return the large parts of ``features``, by their names in the network; empty if the family names none.

        Each takes tensors and returns one, and none contains another: gradient checkpointing keeps only their inputs,
        and computes the rest again.
        """
        return {}

    def blocks(self) -> dict[str, nn.Module]:
        """Return the same in smaller parts; the stages, if the family names none."""
        return self.stages()

    def begin_as_identity(self) -> None:
        """Make every residual block of a fresh network begin as the identity; without such blocks, do nothing."""

    def check_frames(self, frames: int) -> None:
        """Raise SettingsError unless the network can take whole clips of so many frames."""
        if frames < 1 or frames % self.frames_multiple:
            wanted = (
                f"a multiple of {self.frames_multiple} frames" if self.frames_multiple > 1 else "at least one frame"
            )
            raise SettingsError(
                f"{self.name} needs clips of {wanted}; got {frames}. Set {named('num_frames')} accordingly."
            )

    def check_size(self, size: int) -> None:
        """Raise SettingsError unless there is a picture."""
        if size < 1:
            raise SettingsError(f"{self.name} needs clips of at least 1 pixel; got size={size}")

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map and the class scores of each clip.

        The scores are logits. The average is taken in the classifier's precision, which may be higher than that of
        the convolutions.

        Args:
            clip: (B, 3, L, H, W) float, normalised.

        Returns:
            features (B, C, T', H', W') in the convolutions' dtype, and scores (B, K) in the classifier's.

        Raises:
            SettingsError: if the backbone cannot take clips of that shape.
        """
        features = self.features(clip)
        return features, self.scores(features)

    def scores(self, features: Tensor) -> Tensor:
        """Return the class scores (B, K) of maps (B, C, T', H', W'), in the classifier's dtype."""
        pooled = self._pooled(features)  # (B, P, C)
        logits = self.classifier(self.dropout(self.neck(pooled)))  # (B, P, K)
        if self.head_rule.softmax:
            return F.log_softmax(logits, dim=-1).logsumexp(dim=1) - math.log(logits.shape[1])
        return logits.mean(dim=1) if logits.shape[1] > 1 else logits[:, 0]

    def _pooled(self, features: Tensor) -> Tensor:
        """Return the averages at the head's P positions, (B, P, C), of (B, C, T', H', W')."""
        dtype = self.classifier.weight.dtype
        if self.head_rule.window is None:
            return features.mean(dim=(2, 3, 4), dtype=dtype)[:, None]  # (B, 1, C)
        sides = zip(self.head_rule.window, features.shape[2:], strict=True)
        window = tuple(min(own, side) for own, side in sides)
        averages = F.avg_pool3d(features.to(dtype), window, stride=1)  # (B, C, ...)
        return averages.flatten(2).transpose(1, 2)  # (B, P, C)


class BackboneSpec(Protocol):
    """An entry of the registry: knows its name and builds the network."""

    @property
    def name(self) -> str:
        """The name it is registered under."""
        ...

    @property
    def summary(self) -> str:
        """One line of what it is, the same for all sizes of a family."""
        ...

    @property
    def usual_clip(self) -> tuple[int, int]:
        """(L, stride in frames) of the clips in its source's figures."""
        ...

    def build(self, *, num_classes: int, dropout: float) -> Backbone:
        """Return a freshly initialised network, on torch's default device."""
        ...


def initialise(backbone: Backbone) -> None:
    """Initialise in place as VMZ does: He by fan-out for convolutions, unit batch norm, a small classifier."""
    if backbone.classifier.weight.is_meta:
        return  # no values to draw, and torch takes longer over not drawing them than over all the rest
    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            _initialise_classifier(module)


def _initialise_classifier(classifier: nn.Linear) -> None:
    """Give a classifier small weights and no bias, in place, as VMZ does."""
    nn.init.normal_(classifier.weight, 0.0, 0.01)
    if classifier.bias is not None:
        nn.init.zeros_(classifier.bias)
