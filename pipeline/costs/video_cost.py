"""What a video costs: both backbones over its clips, and the aggregator over their maps."""

from dataclasses import dataclass
from functools import lru_cache

from ..aggregators.base import AggregatorSpec
from ..aggregators.video_model import Shape
from ..backbones.registry import feature_shape
from ..errors import SettingsError, named
from ..features.patterns import Pattern
from .flops import aggregator_macs, backbone_macs
from .sizes import check_sizes

_EXAMPLES = {"expensive": "r2plus1d_50", "cheap": "r2d_26"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Which networks see which clips of a video, and what aggregates their results.

    Attributes:
        expensive: registered backbone of the expensive clips; None if there are none.
        cheap: likewise for the cheap ones.
        pattern: which clips are expensive.
        aggregator: a registered name.
        num_frames: L.
        num_clips: N.
        crop: side of the square clip in pixels.
        num_classes: K.
        reduction: r of the bottleneck in FAST-GRU's gates, and of a memory's width.
    """

    expensive: str | None = None
    cheap: str | None = None
    pattern: Pattern
    aggregator: str = "fast-gru"
    num_frames: int = 8
    num_clips: int = 32
    crop: int = 224
    num_classes: int = 400
    reduction: int = 4

    def __post_init__(self) -> None:
        """Check sizes, and that every clip has a backbone.

        Raises:
            SettingsError: naming the option, its constraint, and what to type.
        """
        check_sizes(num_frames=self.num_frames, num_clips=self.num_clips, crop=self.crop, num_classes=self.num_classes)
        for role, name in self.backbones.items():
            if not name:
                raise SettingsError(
                    f"{named('pattern')} {self.pattern} makes clips {role}, and no backbone sees them; give "
                    f"{named(role)} NAME, "
                    f"as {named(role)} {_EXAMPLES[role]}"
                )

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of each of the N clips."""
        return self.pattern.roles(self.num_clips)

    @property
    def backbones(self) -> dict[str, str]:
        """Role -> backbone's name, for the roles that any clip has, the expensive one first."""
        names = {"expensive": self.expensive, "cheap": self.cheap}
        return {role: name or "" for role, name in names.items() if role in self.roles}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The share of one network, or of one part of its work.

    Attributes:
        name: of the part, in words.
        network: its registered name.
        num_clips: how many clips it sees.
        per_video: operations for all of them.
    """

    name: str
    network: str
    num_clips: int
    per_video: int

    @property
    def per_clip(self) -> float:
        """Operations for one of its clips; the mean, if they differ."""
        return self.per_video / self.num_clips


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a video costs.

    Attributes:
        parts: the shares, in the order of the work.
        num_clips: N.
        convention: what counts as an operation, a name of ``CONVENTIONS``.
    """

    parts: tuple[Part, ...]
    num_clips: int
    convention: str

    @property
    def per_video(self) -> int:
        """Operations of the video."""
        return sum(part.per_video for part in self.parts)

    @property
    def per_clip(self) -> float:
        """Operations of the video over the number of its clips."""
        return self.per_video / self.num_clips


def backbone_cost(
    name: str, *, num_frames: int, crop: int, num_clips: int = 1, num_classes: int = 400, convention: str = "mac"
) -> Cost:
    """Return what a backbone costs over ``num_clips`` clips of ``num_frames`` × ``crop``² pixels.

    Raises:
        SettingsError: for an unknown name, or clips that the backbone cannot take.
    """
    check_sizes(num_frames=num_frames, crop=crop, num_clips=num_clips, num_classes=num_classes)
    clip = backbone_macs(name, num_frames=num_frames, size=crop, num_classes=num_classes, convention=convention)
    part = Part(name="clips", network=name, num_clips=num_clips, per_video=num_clips * clip)
    return Cost(parts=(part,), num_clips=num_clips, convention=convention)


def aggregator_cost(spec: AggregatorSpec, *, shape: Shape, num_clips: int, convention: str = "mac") -> Cost:
    """Return what an aggregator costs over ``num_clips`` maps of one ``shape``: the first clip, and the further ones.

    A recurrent one takes no step for the first clip (o_0 = x_0), so a further clip costs one step.

    Raises:
        SettingsError: if there is no such aggregator, or the width does not suit it.
    """
    check_sizes(num_clips=num_clips, channels=spec.channels, num_classes=spec.num_classes)
    check_sizes(grid=min(shape[:3]))
    check_sizes(grid=max(shape[:3]))
    first, whole = (
        aggregator_macs(spec, shapes={"expensive": shape}, roles=["expensive"] * num, convention=convention)
        for num in (1, num_clips)
    )
    parts = [Part(name="first clip", network=spec.name, num_clips=1, per_video=first)]
    if num_clips > 1:
        further = Part(name="further clips", network=spec.name, num_clips=num_clips - 1, per_video=whole - first)
        parts.append(further)
    return Cost(parts=tuple(parts), num_clips=num_clips, convention=convention)


def setting_cost(setting: Setting, *, convention: str = "mac") -> Cost:
    """Return what ``setting`` costs per video: its expensive clips, its cheap clips, its aggregator.

    Raises:
        SettingsError: for an unknown name, or clips that a backbone cannot take.
    """
    parts = [_clips_part(setting, role, convention) for role in setting.backbones]
    shapes = {role: _map_shape(name, setting.num_frames, setting.crop) for role, name in setting.backbones.items()}
    spec = AggregatorSpec(
        name=setting.aggregator,
        channels=max(shape[-1] for shape in shapes.values()),  # narrower maps are projected to it
        num_classes=setting.num_classes,
        reduction=setting.reduction,
    )
    joined = aggregator_macs(spec, shapes=shapes, roles=setting.roles, convention=convention)
    parts.append(Part(name="aggregator", network=spec.name, num_clips=setting.num_clips, per_video=joined))
    return Cost(parts=tuple(parts), num_clips=setting.num_clips, convention=convention)


def _clips_part(setting: Setting, role: str, convention: str) -> Part:
    """Return the share of the backbone in ``role``."""
    name, num_clips = setting.backbones[role], setting.roles.count(role)
    clip = backbone_macs(
        name,
        num_frames=setting.num_frames,
        size=setting.crop,
        num_classes=setting.num_classes,
        convention=convention,
    )
    return Part(name=f"{role} clips", network=name, num_clips=num_clips, per_video=num_clips * clip)


@lru_cache(maxsize=256)  # as the counts of `backbone_macs`
def _map_shape(name: str, num_frames: int, crop: int) -> Shape:
    return feature_shape(name, num_frames=num_frames, size=crop)
