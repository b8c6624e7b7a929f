"""How much memory a step of end-to-end training takes, estimated without taking the step, and which settings would fit.

Activations, the bulk, are counted by running shapes (`simulation`); weights, their gradients, the optimizer's state,
maps and clips by arithmetic. `with_headroom` allows for what kernels and allocators take beside tensors.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter

from ...aggregators.base import AggregatorSpec
from ...aggregators.video_model import Shape
from ...backbones.registry import feature_shape
from ...errors import SettingsError, named
from ...sizes import size_text
from ...training.optimisation import DTYPES
from ...training.settings import OPTIMIZERS
from ..strategies import BATCH_REDUCTION, CHECKPOINT, MULTI_ITERATION, PLAIN, TWO_PASS, StrategySettings
from .simulation import CallMemory, NetworkMemory, backbone_call, backbone_memory, video_call, video_memory

_STATE_COPIES = {"sgd": 1, "adamw": 2}  # of the trained weights, in the optimizer
FLOAT_BYTES = 4  # of a value of maps and scores
# A process grows by at most this factor times the estimate, and these bytes: true of all settings of
# benchmarks/memory.py.
_HEADROOM, _HEADROOM_BYTES = 1.1, 550_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingShape:
    """What determines the memory of a step, apart from the strategy.

    Attributes:
        backbones: role -> registered name.
        roles: of the N clips of a video.
        num_frames: L.
        crops: role -> S, pixels.
        num_classes: K.
        aggregator: over the backbones' maps.
        batch_size: videos that one process runs at once.
        precision: a name of ``optimisation.DTYPES``.
        optimizer: a name of ``optimisation.OPTIMIZERS``.
        ema: whether an average of all weights is kept.
        trained: roles whose backbones are trained.
        distributed: whether gradients are copied, to be exchanged between processes.
    """

    backbones: Mapping[str, str]
    roles: tuple[str, ...]
    num_frames: int
    crops: Mapping[str, int]
    num_classes: int
    aggregator: AggregatorSpec
    batch_size: int
    precision: str = "float32"
    optimizer: str = "sgd"
    ema: bool = False
    trained: frozenset[str] = frozenset()
    distributed: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: for the first field that is out of range.
        """
        used = set(self.roles)
        rules = (
            ("roles", bool(self.roles), "name at least one clip", self.roles),
            ("backbones", used <= set(self.backbones), f"name one for each of {sorted(used)}", dict(self.backbones)),
            ("crops", used <= set(self.crops), f"name one for each of {sorted(used)}", dict(self.crops)),
            ("trained", self.trained <= used, f"be among {sorted(used)}", sorted(self.trained)),
            ("batch_size", self.batch_size >= 1, "be at least 1", self.batch_size),
            ("precision", self.precision in DTYPES, f"be one of {', '.join(DTYPES)}", self.precision),
            ("optimizer", self.optimizer in OPTIMIZERS, f"be one of {', '.join(OPTIMIZERS)}", self.optimizer),
        )
        for name, holds, constraint, found in rules:
            if not holds:
                raise SettingsError(f"{name} must {constraint}; got {found!r}")

    @property
    def num_clips(self) -> int:
        """N."""
        return len(self.roles)

    def map_shapes(self) -> dict[str, Shape]:
        """Return role -> (T', H', W', C), for the roles that have clips."""
        return {
            role: _feature_shape(self.backbones[role], self.num_frames, self.crops[role])
            for role in dict.fromkeys(self.roles)
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Settings that fit.

    Attributes:
        strategy: how the clips share the memory.
        parts: into how many parts the batch is divided, run one after the other.
        num_bytes: estimated.
    """

    strategy: StrategySettings
    parts: int
    num_bytes: int

    def flags(self, *, accumulate: int = 1) -> str:
        """Return what to type if the batch was itself one of ``accumulate`` parts."""
        words = [f"{named('strategy')} {self.strategy.name}"]
        if self.strategy.name == CHECKPOINT:
            words.append(f"{named('granularity')} {self.strategy.granularity}")
        if self.strategy.clips_at_once is not None:
            words.append(f"{named('clips_at_once')} {self.strategy.clips_at_once}")
        if self.parts * accumulate > 1:
            words.append(f"{named('accumulate')} {self.parts * accumulate}")
        return " ".join(words)


def estimated_bytes(shape: TrainingShape, *, strategy: StrategySettings) -> int:
    """Return the most bytes that tensors take at any time of a training step, weights and optimizer included.

    Gradients count from the start, as they exist then if they are accumulated over several passes.

    Args:
        shape: networks, clips and batch; with "batch-reduction" the batch before its reduction.
        strategy: how the clips share the memory.

    Raises:
        SettingsError: if there is no such backbone or aggregator, or it cannot take such clips.
    """
    if strategy.name == BATCH_REDUCTION:
        shape = replace(shape, batch_size=max(1, round(shape.batch_size / shape.num_clips)))
    trained = _trained_bytes(shape)
    gradients = trained * (2 if shape.distributed else 1)
    lasting = _weight_bytes(shape) * (1 + shape.ema) + trained * _STATE_COPIES[shape.optimizer] + _clip_bytes(shape)
    # An optimizer may work on a copy of all gradients at once, when the activations are gone.
    return lasting + gradients + max(_activation_bytes(shape, strategy), trained)


def fitting(shape: TrainingShape, *, available: int) -> list[Fit]:
    """Return the settings that fit, best first: the fewest parts of a batch, and of these the fastest.

    The batch of ``shape`` runs at once or in more and more parts, down to single videos. The strategies are those that
    do not change the loss: plain, checkpoint at stages and at blocks, and two-pass with fewer and fewer clips at once.
    Multi-iteration, which changes what is optimised, takes no less memory than two-pass, and batch reduction is just a
    smaller batch.

    Args:
        shape: networks, clips and batch.
        available: bytes.

    Raises:
        SettingsError: as in `estimated_bytes`.
    """
    fits = []
    for batch_size in _halved(shape.batch_size):
        smaller, parts = replace(shape, batch_size=batch_size), math.ceil(shape.batch_size / batch_size)
        for strategy in _strategies(shape):
            num_bytes = estimated_bytes(smaller, strategy=strategy)
            if with_headroom(num_bytes) <= available:
                fits.append(Fit(strategy=strategy, parts=parts, num_bytes=num_bytes))
    return fits


def with_headroom(num_bytes: int) -> int:
    """Return how many bytes must be available for an estimate of ``num_bytes``."""
    return round(num_bytes * _HEADROOM) + _HEADROOM_BYTES


def advice(shape: TrainingShape, *, available: int, strategy: str = PLAIN, accumulate: int = 1) -> str:
    """Return a sentence for an error message: settings that would fit, or that none would.

    Args:
        shape: networks, clips and batch that did not fit.
        available: bytes.
        strategy: the name of the one that did not fit.
        accumulate: into how many parts the batch is divided already, of which the shape's is one.

    Raises:
        SettingsError: as in `estimated_bytes`.
    """
    fits = fitting(shape, available=available)
    if fits:
        offers = [fits[0], *(fit for fit in fits if fit.strategy.name == strategy)][:2]
        offers.append(min((fit for fit in fits if fit.parts == fits[0].parts), key=attrgetter("num_bytes")))
        shown = [
            f"{fit.flags(accumulate=accumulate)} (about {size_text(with_headroom(fit.num_bytes))})" for fit in offers
        ]
        return f"these would fit: {', '.join(dict.fromkeys(shown))}"
    least = replace(shape, batch_size=1)
    needed = with_headroom(min(estimated_bytes(least, strategy=own) for own in _strategies(least)))
    return (
        f"no strategy would fit: even a batch of one video needs about {size_text(needed)}, and there are "
        f"{size_text(available)}. A smaller {named('crop')}, fewer {named('num_frames')} or {named('num_clips')}, "
        "or a smaller network is needed"
    )


def _strategies(shape: TrainingShape) -> Iterator[StrategySettings]:
    """Yield the strategies to choose from, fastest first; all but the first run the network forward twice."""
    yield StrategySettings(name=PLAIN)
    yield StrategySettings(name=CHECKPOINT, granularity="stage")
    yield StrategySettings(name=CHECKPOINT, granularity="block")
    if shape.num_clips > 1:
        for at_once in _halved(shape.num_clips // 2):
            yield StrategySettings(name=TWO_PASS, clips_at_once=at_once)


def _halved(number: int) -> Iterator[int]:
    """Yield ``number``, its half, and so on down to 1."""
    while number:
        yield number
        number //= 2


def _activation_bytes(shape: TrainingShape, strategy: StrategySettings) -> int:
    """Return the most bytes of maps and activations at any time of the passes, without weights and gradients."""
    two_pass, one_by_one = strategy.name == TWO_PASS, strategy.name in (MULTI_ITERATION, TWO_PASS)
    counts = {role: shape.roles.count(role) for role in dict.fromkeys(shape.roles)}
    at_once = strategy.clips_per_call(shape.num_clips)
    seen = {role: min(at_once, count) for role, count in counts.items()}  # clips of a video in one call
    granularity = strategy.granularity if strategy.name == CHECKPOINT else None
    looks = [_call(shape, role, clips=seen[role]).peak for role in counts if two_pass or role not in shape.trained]
    calls = {
        role: _call(shape, role, clips=seen[role], trained=True, granularity=granularity) for role in shape.trained
    }
    # One by one, only one call's graph exists at a time; else those of all calls exist until the backward pass.
    if one_by_one:
        kept = max([call.kept for call in calls.values()], default=0)
    else:
        kept = sum(call.kept * math.ceil(counts[role] / seen[role]) for role, call in calls.items())
    look = max(looks, default=0)
    backward = max([call.peak - call.kept for call in calls.values()], default=0)
    video = video_call(shape.aggregator, *_video_model(shape), shape.batch_size, shape.precision).peak
    maps = _map_bytes(shape)  # and again for their gradients
    # Three phases: the first pass without a graph, the aggregator with gradients at the maps, and the backbones'
    # backward pass. In two passes the second forward comes last; otherwise the graph is kept through all of them.
    if two_pass:
        return maps + max(look, video + maps, maps + kept + backward)
    return maps + kept + max(look, video + maps, maps + backward)


@lru_cache(maxsize=64)
def _feature_shape(name: str, num_frames: int, crop: int) -> Shape:
    return feature_shape(name, num_frames=num_frames, size=crop)


def _call(
    shape: TrainingShape, role: str, *, clips: int, trained: bool = False, granularity: str | None = None
) -> CallMemory:
    """Return the memory of one call of a role's backbone over so many clips of each video."""
    return backbone_call(
        shape.backbones[role],
        clips=clips * shape.batch_size,
        num_frames=shape.num_frames,
        crop=shape.crops[role],
        precision=shape.precision,
        gradients=trained,
        granularity=granularity,
    )


def _video_model(shape: TrainingShape) -> tuple[tuple[tuple[str, Shape], ...], tuple[str, ...]]:
    return tuple(shape.map_shapes().items()), shape.roles


def _networks(shape: TrainingShape) -> Iterator[tuple[NetworkMemory, bool]]:
    """Yield each network, and whether it is trained."""
    yield video_memory(shape.aggregator, _video_model(shape)[0]), True
    for role in dict.fromkeys(shape.roles):
        yield backbone_memory(shape.backbones[role], shape.num_classes), role in shape.trained


def _weight_bytes(shape: TrainingShape) -> int:
    return sum(network.parameters + network.buffers for network, _ in _networks(shape))


def _trained_bytes(shape: TrainingShape) -> int:
    return sum(network.parameters for network, trained in _networks(shape) if trained)


def _clip_bytes(shape: TrainingShape) -> int:
    """Return the bytes of the clips' pixels."""
    return shape.batch_size * sum(shape.num_frames * shape.crops[role] ** 2 * 3 for role in shape.roles)


def _map_bytes(shape: TrainingShape) -> int:
    """Return the bytes of maps and scores of all clips; their gradients take the same."""
    shapes = shape.map_shapes()
    values = sum(math.prod(shapes[role]) + shape.num_classes for role in shape.roles)
    return FLOAT_BYTES * shape.batch_size * values
