"""Networks of single pictures as clip backbones: one runs on each frame, and its maps in order are the clip's.

In some of them a frame's maps take channels from the frames beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ..errors import SettingsError, named
from .frame_mixing import FrameMixing
from .interface import Backbone, initialise
from .layers import grid_side

IMAGE_CLIP = (8, 4)  # frames and stride: about a second, which eight pictures tell as well as more do


class ImageNetwork(nn.Module, ABC):
    """A network of single pictures, up to its last map, whose side is a 32nd of the picture's, rounded up.

    Attributes:
        channels: C of the map.
    """

    channels: int

    @abstractmethod
    def forward(self, pictures: Tensor, frames: int) -> Tensor:
        """Return the last map of each picture.

        Args:
            pictures: (B · L, 3, H, W) float, normalised: the frames of clips, clip by clip.
            frames: L; only where frames see each other does it matter.

        Returns:
            (B · L, C, ceil(H / 32), ceil(W / 32)).
        """

    @abstractmethod
    def stages(self) -> Mapping[str, nn.Module]:
        """Return the large parts by name; each takes a tensor, the later ones L too, and returns one tensor."""

    @abstractmethod
    def blocks(self) -> Mapping[str, nn.Module]:
        """Return the same in smaller parts."""

    @abstractmethod
    def begin_as_identity(self) -> None:
        """Make every residual block begin as the identity."""


class FrameBackbone(Backbone):
    """An image network that runs on each frame of the clip; the scores are the average of the frames' logits.

    With ``pool_time`` K the maps of every K successive frames are averaged, so that a store keeps a K-th of them. That
    does not change the scores, which are linear in the maps.

    Source: Wang et al., Temporal Segment Networks (ECCV 2016), with average consensus; there the frames are spread over
    the whole video, here over the clip.
    """

    def __init__(self, spec: "FrameSpec", *, num_classes: int, dropout: float) -> None:
        image = spec.image()
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=image.channels,
            dropout=dropout,
            frames_multiple=spec.pool_time,
        )
        self.pool_time = spec.pool_time
        self.only_frames = spec.only_frames
        self.image = image
        initialise(self)
        mixings = (own for own in image.modules() if isinstance(own, FrameMixing))
        for mixing in () if self.classifier.weight.is_meta else mixings:
            mixing.begin()

    def features(self, clip: Tensor) -> Tensor:
        """Return the frames' maps: (B, 3, L, H, W) float -> (B, C, L / K, ceil(H / 32), ceil(W / 32))."""
        self.check_frames(clip.shape[2])
        maps = self.image(frames_of(clip), clip.shape[2])
        return maps_in_order(maps, clips=len(clip), pool_time=self.pool_time)

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): the frames over K, and a 32nd of the side, rounded up."""
        self.check_frames(frames)
        self.check_size(size)
        side = grid_side(size)
        return frames // self.pool_time, side, side, self.channels

    def check_frames(self, frames: int) -> None:
        """Raise SettingsError unless the network can take whole clips of so many frames."""
        if self.only_frames and frames != self.only_frames:
            raise SettingsError(
                f"{self.name} needs clips of {self.only_frames} frames, for which it has learnt where channels move; "
                f"got {frames}. Set {named('num_frames')} accordingly."
            )
        super().check_frames(frames)

    def stages(self) -> dict[str, nn.Module]:
        """Return the image network's."""
        return {f"image.{name}": part for name, part in self.image.stages().items()}

    def blocks(self) -> dict[str, nn.Module]:
        """Return the image network's."""
        return {f"image.{name}": part for name, part in self.image.blocks().items()}

    def begin_as_identity(self) -> None:
        """Make every residual block begin as the identity."""
        self.image.begin_as_identity()


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSpec:
    """An image network as a clip backbone.

    Attributes:
        name: as registered; with K above 1 it ends in ``_tK``.
        summary: one line of what it is.
        image: builds the network, uninitialised.
        pool_time: K, of how many successive frames the maps are averaged.
        usual_clip: (L, stride in frames).
        mixes_frames: whether a frame's map depends on the other frames of its clip.
        only_frames: the number of frames that a clip must have; 0 for any.
        of: the name without an average in time, if this is one with.
    """

    name: str
    summary: str
    image: Callable[[], ImageNetwork]
    pool_time: int = 1
    usual_clip: tuple[int, int] = IMAGE_CLIP
    mixes_frames: bool = False
    only_frames: int = 0
    of: str = ""

    @property
    def plain(self) -> str:
        """The name without an average in time."""
        return self.of or self.name

    def pooled(self, every: int) -> "FrameSpec":
        """Return the same that averages the maps of ``every`` successive frames."""
        return replace(self, name=pooled_name(self.plain, every), pool_time=every, of=self.plain)

    def build(self, *, num_classes: int, dropout: float) -> FrameBackbone:
        """Return a freshly initialised network, on torch's default device."""
        return FrameBackbone(self, num_classes=num_classes, dropout=dropout)


def pooled_name(name: str, every: int) -> str:
    """Return what the network called ``name`` is called where it averages the maps of ``every`` successive frames."""
    return f"{name}_t{every}"


def frames_of(clip: Tensor) -> Tensor:
    """Return the frames of (B, 3, L, H, W) as pictures (B · L, 3, H, W), clip by clip."""
    return clip.transpose(1, 2).flatten(0, 1)


def maps_in_order(maps: Tensor, *, clips: int, pool_time: int) -> Tensor:
    """Return the maps of frames (B · L, C, H', W') as clips' (B, C, L / K, H', W'), each the average of K frames'."""
    maps = maps.unflatten(0, (clips, -1))  # (B, L, C, H', W')
    if pool_time > 1:
        maps = maps.unflatten(1, (-1, pool_time)).mean(dim=2)  # (B, L / K, C, H', W')
    return maps.transpose(1, 2)
