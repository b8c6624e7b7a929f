"""Weights of other programs, found and not yet read: a file, a folder of transformers, or what timm itself keeps."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..backbones.registry import plain_name
from ..backbones.timm_frames import PREFIX as TIMM
from ..backbones.timm_frames import timm_record, timm_state, timm_version
from ..backbones.transformers_folders import CONFIG, find_folder, read_architecture
from ..backbones.transformers_names import PREFIX as TRANSFORMERS
from ..backbones.transformers_names import parse_name
from ..backbones.weights import Weights
from ..errors import SettingsError, WeightsError
from .class_lists import class_list, unnamed_classes
from .containers import file_sha256, read_checkpoint
from .conversion import convert, fitted, shapes_of
from .dialects import read_as
from .fetch import entry_of
from .hub import image_file
from .published import Published, published
from .recipes import RECIPES, Recipe
from .transformers_models import WEIGHTS, folder_sha256, is_model_folder, read_model

Classes = Iterable[str] | str | None
_IMAGENET, _IMAGENET_SIZE = "in1k", 1000  # in timm's names of weights; classes of their heads


class Source(Protocol):
    """Weights that are yet to be read."""

    def decisive(self) -> list[Any]:
        """Return what decides their content beside recipes, as JSON has it."""
        ...

    def read(self, *, classes: Classes = None, recipe: Recipe | None = None) -> Weights:
        """Return them as weights of vidpipe's.

        Args:
            classes: the names of their scores, or the name of a list; None for what the source says.
            recipe: how pixels are prepared; None for what the source does.

        Raises:
            WeightsError, SettingsError: if they are not what they should be.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """A file of another program.

    Attributes:
        path: of the file.
        backbone: the network that it must hold; empty to find out.
        entry: of the registry, if the file is published.
        sha256: its digest, if it is known; empty to find out.
    """

    path: Path
    backbone: str = ""
    entry: Published | None = None
    sha256: str = ""

    def decisive(self) -> list[Any]:
        """Return the file's digest, and what is asked of it."""
        digest = self.sha256 or file_sha256(self.path)
        return [digest, self.backbone, _facts(self.entry), _timm_facts(self.backbone)]

    def read(self, *, classes: Classes = None, recipe: Recipe | None = None) -> Weights:
        """Return the file as weights of vidpipe's, with the entry's recipe, clips and classes."""
        checkpoint, own = read_checkpoint(self.path), self.entry
        if own is None:
            return convert(checkpoint, backbone=self.backbone, classes=classes, recipe=recipe)
        weights = convert(
            checkpoint,
            backbone=own.backbone,
            classes=classes or own.classes or None,
            recipe=recipe or RECIPES[own.recipe],
            origin=_origin(own),
        )
        return _with_clips(weights, own)


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSource:
    """A folder of a model of transformers.

    Attributes:
        folder: where it is.
        name: what it is called in the record.
        backbone: the network that it must hold; empty for whichever its configuration describes.
        entry: of the registry, if the model is published.
    """

    folder: Path
    name: str
    backbone: str = ""
    entry: Published | None = None

    def decisive(self) -> list[Any]:
        """Return the digest of all files that are read, and what is asked of them."""
        return [folder_sha256(self.folder), self.backbone, _facts(self.entry)]

    def read(self, *, classes: Classes = None, recipe: Recipe | None = None) -> Weights:
        """Return the folder as weights of vidpipe's."""
        wanted = self.entry.backbone if self.entry else self.backbone
        found = read_architecture(self.folder).name
        if wanted and found != wanted:
            raise WeightsError(f"{self.folder} holds {found}, not {wanted}")
        own = self.entry
        weights = read_model(
            self.name, folder=self.folder, classes=classes, recipe=recipe, origin=_origin(own) if own else None
        )
        return _with_clips(weights, own) if own else weights


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmSource:
    """What timm has trained, which timm reads itself: its own filters bring old files into its present spelling.

    Attributes:
        name: of the network, as ``timm:convnext_atto.d2_in1k``.
        file: that timm is to read; None for one that timm finds by itself.
    """

    name: str
    file: Path | None

    def decisive(self) -> list[Any]:
        """Return the file's digest, the network's name, and timm's version and recipe; its filters may change."""
        digest = file_sha256(self.file) if self.file else timm_record(self.name)["url"]
        return [digest, self.name, _timm_facts(self.name)]

    def read(self, *, classes: Classes = None, recipe: Recipe | None = None) -> Weights:
        """Return them as weights of vidpipe's."""
        record, state = timm_record(self.name), timm_state(self.name, file=self.file)
        found = read_as(shapes_of(state), self.name)
        if classes is None and found.num_classes:
            classes = _classes_of(record, found.num_classes)
        return fitted(found, state, place=self.name, classes=classes, recipe=recipe, origin=self._origin(record))

    def _origin(self, record: dict[str, Any]) -> dict[str, str]:
        repository, licence = record.get("hf_hub_id"), record.get("license") or ""
        known = {
            "file": f"{record['architecture']}.{record['tag']}" if record.get("tag") else record["architecture"],
            "url": f"hf:{repository}" if repository else record.get("url", ""),
            "sha256": file_sha256(self.file) if self.file else "",
            "licence": "" if licence == "unknown" else licence,
            "timm": timm_version(),
        }
        return {name: own for name, own in known.items() if own}


def _classes_of(record: dict[str, Any], num_classes: int) -> tuple[str, ...]:
    """Return the names of a head's classes: timm's own, ImageNet's, or none."""
    named = tuple(record.get("label_names") or ())
    if len(named) == num_classes:
        return named
    is_imagenet = num_classes == _IMAGENET_SIZE and _IMAGENET in (record.get("tag") or "")
    return class_list("imagenet1k") if is_imagenet else unnamed_classes(num_classes)


def timm_source(name: str) -> TimmSource:
    """Return what timm has trained of a network, as ``timm:resnet18``: from Hugging Face's cache, or fetched.

    Raises:
        SettingsError: if there is no such network.
        WeightsError: if there are no such weights, or they cannot be had; the message says what to do.
    """
    record = timm_record(name)
    repository = record.get("hf_hub_id")
    if not (repository or record.get("url")):
        raise WeightsError(f"timm publishes no weights of {name.removeprefix(TIMM)}; give {name}=FILE")
    if not repository:
        return TimmSource(name=name, file=None)
    try:
        return TimmSource(name=name, file=image_file(repository, name=record.get("hf_hub_filename")))
    except WeightsError as error:
        raise WeightsError(
            f"the weights of {name} cannot be fetched: {error.marked}. Where there is a network, run hf download "
            f"{repository}; bring its {WEIGHTS} here, and give it as {name}=FILE"
        ) from error


def file_source(path: Path, *, backbone: str = "") -> FileSource:
    """Return a file of another program, with its entry of the registry if its digest tells that it is published.

    timm reads some published files as networks of its own, by its own rules.

    Args:
        path: of the file.
        backbone: the network that it must hold; empty to find out.

    Raises:
        WeightsError: if it is published as another network.
    """
    digest = file_sha256(path)
    entry = None if backbone.startswith(TIMM) else entry_of(digest)
    if entry is not None and backbone not in ("", entry.backbone):
        raise WeightsError(f"{path} is {entry.name}, which holds {entry.backbone}, not {backbone}")
    return FileSource(path=path, backbone=backbone, entry=entry, sha256=digest)


def is_timm_folder(place: Path, *, backbone: str) -> bool:
    """Return whether a folder's weights are to be read as those of a network of timm, which must be named."""
    return backbone.startswith(TIMM) and (place / WEIGHTS).is_file()


def folder_source(place: Path, *, backbone: str = "") -> FileSource | FolderSource:
    """Return the weights in a folder of the hub: of transformers, or, where one of its networks is named, of timm.

    Raises:
        SettingsError: if what is named is a model rather than a network.
    """
    if is_timm_folder(place, backbone=backbone):
        return FileSource(path=place / WEIGHTS, backbone=backbone)
    if backbone.startswith(TRANSFORMERS) and parse_name(backbone) is None:
        raise SettingsError(
            f"{backbone} names a model; before =FOLDER stands a network, here {read_architecture(place).name}. "
            "Or give the folder alone"
        )
    return FolderSource(folder=place, name=place.resolve().name, backbone=backbone)


def cached_source(name: str, *, backbone: str = "") -> FolderSource:
    """Return the weights that ``hf:…`` names: a folder here, or ORG/NAME in Hugging Face's cache.

    Raises:
        SettingsError: if nothing is there, or the name is of a network without weights.
    """
    place = Path(name.removeprefix(TRANSFORMERS)).expanduser()
    described = parse_name(name)
    if described is not None and not is_model_folder(place):
        known = [own.name for own in published().values() if own.backbone == described.name]
        told = f"; published are {', '.join(known)}" if known else ""
        raise SettingsError(
            f"{name} is a network, and says nothing of weights: give {name}=FOLDER, with {CONFIG} and {WEIGHTS}{told}"
        )
    return FolderSource(folder=find_folder(name), name=name.removeprefix(TRANSFORMERS), backbone=backbone)


def _facts(entry: Published | None) -> dict[str, Any] | None:
    return entry and asdict(entry)


def _timm_facts(backbone: str) -> list[Any] | None:
    """Return what of timm decides how a network of it is read; None for other networks."""
    if not backbone.startswith(TIMM):
        return None
    return [timm_version(), RECIPES[plain_name(backbone)].preprocessing.record()]


def _origin(entry: Published) -> dict[str, str]:
    known = {"name": entry.name, "url": entry.url, "licence": entry.licence}
    return {name: own for name, own in known.items() if own}


def _with_clips(weights: Weights, entry: Published) -> Weights:
    return replace(weights, num_frames=entry.frames, sampling_rate=entry.stride)
