"""What an end-to-end training will be: settings, checked against videos, weights and the run to begin from."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy.typing as npt
import torch

from ...pipeline.aggregators.base import AggregatorSpec, check_min_clips
from ...pipeline.aggregators.registry import complete_spec
from ...pipeline.aggregators.video_model import Shape, build_video_model
from ...pipeline.backbones.checks import check_clip, check_roles, load_named
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.registry import feature_shape, usual_clip
from ...pipeline.backbones.weights import ClipKind, Weights
from ...pipeline.costs.flops import backbone_macs
from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, FROZEN, MULTI_ITERATION, TRACKED
from ...pipeline.errors import SettingsError, named
from ...pipeline.features.patterns import CHEAP, EXPENSIVE, Pattern
from ...pipeline.inference.stored_inputs import backbone_record
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.distributed import world_size
from ...pipeline.training.learning_split import hold_out, labelled, shared_groups_words
from ...pipeline.training.run_kinds import END_TO_END
from ...pipeline.training.split_choice import videos_of_split
from ...pipeline.training.tasks import Task, targets_by_place, task_of, task_record
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.preprocessing import Preprocessing, parse_preprocessing, preprocessing_for
from ...pipeline.videos.reading import Reading
from .settings import FinetuneSettings
from .start import Start, check_start, open_start, start_digest

_DEFAULT_AGGREGATOR, _DEFAULT_CLIPS, _DEFAULT_CROP = "memory", 8, 224


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedFinetuning:
    """A training that has been checked.

    Attributes:
        classes: K names, in the order of the scores.
        targets: (V, …) each video's labels as the task encodes them.
        training: indices of the videos to train on.
        validation: indices of the held-out ones.
        unlabelled: how many videos of the training split have no label, and are left out.
        shared_groups: a sentence about groups on both sides of the split; "" if there is none.
        pattern: which of the N places are expensive.
        sampling: of the clips, its ``num_clips`` N.
        weights: role -> weights to begin with; None: from scratch.
        preprocessing: role -> that of its backbone.
        shapes: role -> (T', H', W', C) of its maps.
        spec: of the aggregator.
        start: the run to begin from, if there is one.
        statistics: of the batch norms, "frozen" or "tracked".
        rates: role -> peak learning rate of its backbone.
        videos_per_step: over all processes.
    """

    manifest: Manifest
    classes: tuple[str, ...]
    task: Task
    targets: npt.NDArray[Any]
    training: tuple[int, ...]
    validation: tuple[int, ...]
    unlabelled: int
    shared_groups: str
    pattern: Pattern
    sampling: ClipSampling
    weights: Mapping[str, Weights | None]
    preprocessing: Mapping[str, Preprocessing]
    shapes: Mapping[str, Shape]
    spec: AggregatorSpec
    start: Start | None
    statistics: str
    rates: Mapping[str, float]
    videos_per_step: int

    @property
    def roles(self) -> tuple[str, ...]:
        """The role at each of the N places."""
        return self.pattern.roles(self.sampling.num_clips)

    @property
    def trained(self) -> frozenset[str]:
        """The roles whose backbones are trained."""
        return frozenset(role for role in self.shapes if self.rates[role])


def prepare(settings: FinetuneSettings) -> PreparedFinetuning:
    """Read manifest, weights and start, and check that they fit each other. Writes nothing.

    Raises:
        SettingsError, ManifestError, WeightsError, RunError: if they do not.
    """
    manifest = read_manifest(settings.manifest)
    task = task_of(manifest)
    targets = targets_by_place(task, manifest)
    start = None if settings.start is None else open_start(settings, manifest)
    weights = {role: None if own.weights is None else load_named(own.weights, backbone=own.backbone, role=role)
               for role, own in settings.backbones.items()}  # fmt: skip
    pattern, sampling = _clips(settings, start, weights)
    roles = dict.fromkeys(pattern.roles(sampling.num_clips))
    _check_roles(settings, roles, pattern)
    if settings.crop is not None and (start or all(weights[role] is not None for role in roles)):
        raise SettingsError(
            f"{named('crop')} {settings.crop}: weights bring their own preprocessing; leave {named('crop')} out"
        )
    preprocessing = {role: _preprocessing(settings, start, weights[role], role) for role in roles}
    shapes = {
        role: feature_shape(settings.backbones[role].backbone, num_frames=sampling.num_frames, size=own.crop)
        for role, own in preprocessing.items()
    }
    if start is not None:
        check_start(start, {role: weights[role] for role in roles})
    listed = videos_of_split(manifest, settings.split, splits=None).tolist()
    known = labelled(manifest, listed, split=settings.split)
    training, validation = hold_out(
        manifest,
        usable=known,
        fraction=settings.val_fraction,
        seed=settings.optimisation.seed,
    )
    spec = start.weights.spec if start else _fresh_spec(settings, shapes, num_classes=len(manifest.classes))
    _check_backbones(settings, sampling, {role: weights[role] for role in roles}, preprocessing)
    rates = {role: _rate(settings, role, begun=weights[role] is not None) for role in roles}
    _check_aggregator(spec, shapes, sampling.num_clips, trains_backbones=any(rates.values()))
    all_begun = all(weights[role] is not None for role in roles)
    return PreparedFinetuning(
        manifest=manifest,
        classes=manifest.classes,
        task=task,
        targets=targets,
        training=training,
        validation=validation,
        unlabelled=len(listed) - len(known),
        shared_groups=shared_groups_words(manifest, split=settings.split),
        pattern=pattern,
        sampling=sampling,
        weights={role: weights[role] for role in roles},
        preprocessing=preprocessing,
        shapes=shapes,
        spec=spec,
        start=start,
        statistics=settings.statistics or (FROZEN if all_begun else TRACKED),
        rates=rates,
        videos_per_step=settings.videos_per_step(sampling.num_clips),
    )


_ASKED = ("num_frames", "sampling_rate", "fps", "num_clips")  # of clips, if they are given


def _clips(
    settings: FinetuneSettings, start: Start | None, weights: Mapping[str, Weights | None]
) -> tuple[Pattern, ClipSampling]:
    """Return which clips are expensive, and how clips are cut: by the start, else the settings, else the weights."""
    if start is not None:
        own = ClipSampling.of_record(start.made["sampling"])
        own = replace(own, num_clips=start.made["num_clips"], views=1, crops=1, reading=_reading(settings, own.reading))
        return Pattern.parse(start.made["pattern"]), own
    # Those that vidpipe trained decide; published ones run on other clips too.
    begun = next(iter(sorted((own for own in weights.values() if own), key=lambda own: bool(own.origin))), None)
    if begun is None:
        frames, rate = usual_clip(next(iter(settings.backbones.values())).backbone)
        kind = ClipKind(num_frames=frames, sampling_rate=rate, fps=None)
    else:
        kind = begun.clip
    sampling = ClipSampling(**asdict(kind), num_clips=_DEFAULT_CLIPS)
    sampling = replace(sampling, reading=_reading(settings, sampling.reading))
    asked = {name: getattr(settings, name) for name in _ASKED}
    sampling = replace(sampling, **{name: value for name, value in asked.items() if value is not None})
    if settings.pattern is not None:
        return settings.pattern, sampling
    if len(settings.backbones) > 1:
        raise SettingsError(f"with two backbones, say which clips are expensive: {named('pattern')} 1:3, 1:1 or first")
    return Pattern.parse(f"all-{next(iter(settings.backbones))}"), sampling


def _reading(settings: FinetuneSettings, usual: Reading) -> Reading:
    return usual.but(damaged=settings.damaged, hdr=settings.hdr, max_pixels=settings.max_pixels)


def _check_roles(settings: FinetuneSettings, roles: Mapping[str, Any], pattern: Pattern) -> None:
    """Refuse backbones that no clip needs, and clips that no backbone sees."""
    for role in (EXPENSIVE, CHEAP):
        if role in roles and role not in settings.backbones:
            raise SettingsError(f"{named('pattern')} {pattern} has {role} clips; give {named(role)} WEIGHTS or NAME")
        if role in settings.backbones and role not in roles:
            raise SettingsError(f"{named('pattern')} {pattern} has no {role} clips; leave {named(role)} out")


def _preprocessing(
    settings: FinetuneSettings, start: Start | None, weights: Weights | None, role: str
) -> Preprocessing:
    if start is None:
        return preprocessing_for(settings.crop or _DEFAULT_CROP) if weights is None else weights.preprocessing
    return parse_preprocessing(start.made["backbones"][role]["preprocessing"])


def _check_backbones(
    settings: FinetuneSettings,
    sampling: ClipSampling,
    weights: Mapping[str, Weights | None],
    preprocessing: Mapping[str, Preprocessing],
) -> None:
    """Refuse backbones in each other's role, and weights trained on other clips, unless the clips were asked for."""
    typed = (settings.num_frames, settings.sampling_rate, settings.fps) != (None, None, None)
    costs = {}
    for role, own in weights.items():
        if own is not None and not typed:
            check_clip(own, sampling)
        name, crop = settings.backbones[role].backbone, preprocessing[role].crop
        costs[role] = name, backbone_macs(name, num_frames=sampling.num_frames, size=crop) / 1e9
    check_roles(costs)


def _fresh_spec(settings: FinetuneSettings, shapes: Mapping[str, Shape], *, num_classes: int) -> AggregatorSpec:
    given = {name: getattr(settings, name) for name in ("dropout", "reduction")}
    spec = AggregatorSpec(
        name=_DEFAULT_AGGREGATOR if settings.aggregator is None else settings.aggregator,
        channels=settings.width or max(shape[-1] for shape in shapes.values()),
        num_classes=num_classes,
        **{name: value for name, value in given.items() if value is not None},
    )
    return complete_spec(spec)


def _check_aggregator(
    spec: AggregatorSpec, shapes: Mapping[str, Shape], num_clips: int, *, trains_backbones: bool
) -> None:
    with torch.device("meta"):
        model = build_video_model(spec, shapes=shapes)
    check_min_clips(spec.name, num_clips=num_clips, min_clips=model.aggregator.min_clips)
    if not (trains_backbones or model.is_trained):
        raise SettingsError(f"nothing is left to train: {spec.name} has no weights, and every backbone's rate is 0")


def _rate(settings: FinetuneSettings, role: str, *, begun: bool) -> float:
    own = settings.rates.get(role)
    # Weights that are trained already get a tenth: at the full rate they would soon forget what they know.
    return settings.optimisation.learning_rate * (0.1 if begun else 1.0) if own is None else own


def outcome(settings: FinetuneSettings, prepared: PreparedFinetuning) -> dict[str, Any]:
    """Return what the trained weights depend on, as JSON values: a run goes on only if all of it is the same.

    Strategies with the same gradients may replace each other: a run that ran out of memory can go on with another one.

    Args:
        settings: what was asked for.
        prepared: the same, checked.
    """
    # Which videos, beside the manifest's digest: the choice of held-out ones could change with a version.
    used = [prepared.manifest.videos[i].video_id for i in prepared.training + prepared.validation]
    begun = {
        role: backbone_record(
            settings.backbones[role].backbone,
            digest=own and own.digest,
            preprocessing=prepared.preprocessing[role].record(),
        )
        for role, own in prepared.weights.items()
    }
    return {
        "kind": END_TO_END,
        "aggregator": prepared.spec.record(),
        "pattern": str(prepared.pattern),
        "num_clips": prepared.sampling.num_clips,
        "backbones": begun,
        "classes": list(prepared.classes),
        "sampling": prepared.sampling.record(),
        "manifest_digest": prepared.manifest.digest,
        "split": settings.split,
        "val_fraction": settings.val_fraction,
        "num_training": len(prepared.training),
        "num_validation": len(prepared.validation),
        "videos_sha256": hashlib.sha256("\n".join(used).encode()).hexdigest(),
        "start": None if prepared.start is None else start_digest(prepared.start),
        "flip": settings.flip,
        "clip_weight": settings.clip_weight,
        "statistics": prepared.statistics,
        "rates": dict(prepared.rates),
        "gradients": _gradients(settings, prepared),
        "optimisation": asdict(settings.optimisation),
        "device": resolve_device(settings.device).type,
        "processes": world_size(),
        # Runs of earlier versions were reduced only in a cache in memory, and go on only if they were.
        "reduced_in_cache": [True, True],
        **task_record(prepared.task),
    }


def _gradients(settings: FinetuneSettings, prepared: PreparedFinetuning) -> dict[str, Any]:
    """Return what gradients and statistics depend on: if statistics are frozen, not on how clips share the memory."""
    name = settings.strategy.name
    own: dict[str, Any] = {"by": name if name in (BATCH_REDUCTION, MULTI_ITERATION) else "all clips"}
    # Tracked norms normalise by the clips of one call, so the grouping of clips is part of the result.
    if prepared.statistics == TRACKED:
        own |= {"clips_at_once": settings.strategy.clips_per_call(prepared.sampling.num_clips),
                "accumulate": settings.accumulate}  # fmt: skip
    return own
