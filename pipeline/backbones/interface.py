"""What every backbone is: a clip in, its last feature map and its own class scores out."""

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn

from ..errors import SettingsError, named


class Backbone(nn.Module, ABC):
    """A clip network: each family has its own ``features``, and all share one head (average, dropout, linear).

    A family that needs several inputs (pathways at other frame rates, say) makes them from the one clip in ``features``
    and gives back their maps joined on one grid, so that engines, stores and aggregators need not know.

    A family may override `stages` and `blocks`, for gradient checkpointing, and `begin_as_identity`, for training from
    scratch.

    Attributes:
        name: the name it is registered under.
        num_classes: K.
        channels: C of the feature map.
        frames_multiple: clips must have a multiple of this many frames.
    """

    def __init__(
        self, *, name: str, num_classes: int, channels: int, dropout: float = 0.0, frames_multiple: int = 1
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise SettingsError(f"a backbone needs at least one class; got num_classes={num_classes}")
        if not 0.0 <= dropout < 1.0:
            raise SettingsError(f"dropout must lie in [0, 1); got {dropout}")
        self.name = name
        self.num_classes = num_classes
        self.channels = channels
        self.frames_multiple = frames_multiple
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

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
        self.fc = nn.Linear(self.channels, num_classes)
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
        pooled = features.mean(dim=(2, 3, 4), dtype=self.classifier.weight.dtype)  # (B, C)
        return features, self.classifier(self.dropout(pooled))


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


def initialise(backbone: nn.Module) -> None:
    """Initialise in place as VMZ does: He by fan-out for convolutions, unit batch norm, a small classifier."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            _initialise_classifier(module)


def _initialise_classifier(classifier: nn.Linear) -> None:
    """Give a classifier small weights and no bias, in place, as VMZ does."""
    nn.init.normal_(classifier.weight, 0.0, 0.01)
    nn.init.zeros_(classifier.bias)
