"""The plan of training a backbone: its settings, checked against the videos, and what the weights depend on."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.registry import feature_shape, usual_clip
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.clips import TrainingClips, VideoSource
from ...pipeline.training.learning_split import check_classes, labelled, shared_groups_words
from ...pipeline.training.optimisation import resolved
from ...pipeline.training.tasks import Task, task_of, task_record
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.preprocessing import preprocessing_for
from .settings import LONGEST_WARMUP, TrainBackboneSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBackboneTraining:
    """A training that has been checked.

    Attributes:
        settings: with all defaults filled in.
        classes: K names, in the order of the scores.
        training: the clips to train on.
        validation: those that choose the best epoch; None: the last epoch is best.
        unlabelled: how many videos of these splits have no label, and are left out.
        shared_groups: a sentence about groups on both sides of the split; "" if there is none.
    """

    settings: TrainBackboneSettings
    manifest: Manifest
    classes: tuple[str, ...]
    task: Task
    training: TrainingClips
    validation: TrainingClips | None
    unlabelled: int
    shared_groups: str

    @property
    def clips(self) -> tuple[TrainingClips, ...]:
        """Those to train on and, if there are any, those to validate on."""
        return (self.training,) if self.validation is None else (self.training, self.validation)


def prepare(settings: TrainBackboneSettings) -> PreparedBackboneTraining:
    """Read the manifest and check that the backbone can learn from it. Writes nothing.

    Raises:
        SettingsError: for settings that cannot be run together.
        ManifestError: if the manifest is wrong, lacks a split, or has several labels for a video.
    """
    settings = resolve(settings)
    manifest = read_manifest(settings.manifest)
    task = task_of(manifest)
    check_classes(manifest)
    num_frames = sampling_of(settings).num_frames
    splits = {settings.split, settings.val_split}
    feature_shape(settings.backbone, num_frames=num_frames, size=settings.crop)  # refuses unsuitable clips
    return PreparedBackboneTraining(
        settings=settings,
        manifest=manifest,
        classes=manifest.classes,
        task=task,
        training=_clips(manifest, task, settings, settings.split),
        validation=_clips(manifest, task, settings, settings.val_split) if settings.val_split else None,
        shared_groups=shared_groups_words(manifest, split=settings.split),
        unlabelled=sum(video.split in splits and not video.labels for video in manifest.videos),
    )


def resolve(settings: TrainBackboneSettings) -> TrainBackboneSettings:
    """Return the settings with defaults filled in: the backbone's usual clip, the machine's precision.

    Raises:
        SettingsError: if there is no such backbone.
    """
    num_frames, sampling_rate = usual_clip(settings.backbone)
    return replace(
        settings,
        num_frames=settings.num_frames or num_frames,
        sampling_rate=settings.sampling_rate or sampling_rate,
        optimisation=resolved(settings.optimisation, device=settings.device, longest_warmup=LONGEST_WARMUP),
    )


def sampling_of(settings: TrainBackboneSettings) -> ClipSampling:
    """Return how the clips of resolved settings are cut from a video."""
    num_frames, sampling_rate = settings.num_frames, settings.sampling_rate
    assert num_frames is not None and sampling_rate is not None, "resolve the settings first"
    return ClipSampling(
        num_frames=num_frames, sampling_rate=sampling_rate, fps=settings.fps, num_clips=1, reading=settings.reading
    )


def _clips(manifest: Manifest, task: Task, settings: TrainBackboneSettings, split: str) -> TrainingClips:
    subset = manifest.subset(split)
    videos = [subset.videos[place] for place in labelled(subset, range(len(subset)), split=split)]
    preprocessing = preprocessing_for(settings.crop)
    return TrainingClips(
        VideoSource(
            videos,
            crop=preprocessing.crop,
            reading=settings.reading,
        ),
        labels=task.targets(manifest, videos=videos).tolist(),
        sampling=sampling_of(settings),
        preprocessing=preprocessing,
        seed=settings.optimisation.seed,
        flip=settings.flip,
    )


def outcome(prepared: PreparedBackboneTraining) -> dict[str, Any]:
    """Return what the trained weights depend on, as JSON values."""
    own = asdict(prepared.settings)
    # What changes the speed or the place of a run but not its outcome; the manifest and the device stand there already,
    # by digest and by type.
    for place in (
        "manifest",
        "out",
        "threads",
        "workers",
        "checkpoint_seconds",
        "cache_gib",
        "keeping",
        "device",
        "reading",
    ):
        del own[place]
    return {
        "stage": "train-backbone",
        "manifest_digest": prepared.manifest.digest,
        "device": resolve_device(prepared.settings.device).type,
        # Runs of earlier versions were reduced only in a cache in memory, and go on only if they were.
        "reduced_in_cache": [True for _ in prepared.clips],
        **own,
        **prepared.settings.reading.record(),
        **task_record(prepared.task),
    }
