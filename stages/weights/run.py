"""List, inspect, fetch and convert published weights."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...pipeline.backbones.places import SUFFIX, weights_file
from ...pipeline.backbones.transformers_folders import find_folder
from ...pipeline.backbones.transformers_names import PREFIX as TRANSFORMERS
from ...pipeline.backbones.weights import Weights, averaged, is_own_file, load_weights, read_head, save_weights, sealed
from ...pipeline.checkpoints.class_lists import read_class_list
from ...pipeline.checkpoints.containers import file_sha256, read_checkpoint
from ...pipeline.checkpoints.conversion import check_kinds, shapes_of
from ...pipeline.checkpoints.dialects import nearest, nearest_spelling, recognised, report
from ...pipeline.checkpoints.fetch import entry_of
from ...pipeline.checkpoints.published import Published, find_published, licence_words, published
from ...pipeline.checkpoints.ready import Given, foreign_source, told
from ...pipeline.checkpoints.recipes import RECIPES
from ...pipeline.checkpoints.sources import FileSource, Source, is_timm_folder
from ...pipeline.checkpoints.spelling import Comparison
from ...pipeline.checkpoints.strangers import stranger
from ...pipeline.checkpoints.transformers_models import WEIGHTS, folder_sha256, is_model_folder, read_folder
from ...pipeline.errors import SettingsError, WeightsError, named
from ...pipeline.execution import SILENT, Progress
from ...pipeline.registry import did_you_mean
from .ready import fetch_shown
from .settings import ConvertSettings, FetchSettings, InspectSettings, ListSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What a weights file, or a folder of a model, holds.

    Attributes:
        path: of the file or folder.
        container: ``vidpipe``, or that of another program.
        sha256: of the file; of a folder, of the digests of the files that are read.
        num_tensors: in it.
        networks: what it may be: network, dialect, recipe and number of classes each.
        nearest: if it is none: the nearest networks, and what is missing or left over.
        stranger: if it is one that vidpipe knows and does not have: which, and why.
        published: the name in the registry of the file with this digest; empty if none is known.
        origin: of a converted file: where it comes from.
        classes: of vidpipe's own files, the names.
    """

    path: Path
    container: str
    sha256: str
    num_tensors: int
    networks: tuple[dict[str, Any], ...] = ()
    nearest: tuple[str, ...] = ()
    stranger: str = ""
    published: str = ""
    origin: dict[str, str] | None = None
    classes: tuple[str, ...] = ()


def list_published(settings: ListSettings) -> list[Published]:
    """Return the entries that pass all filters; one without the figure that a filter asks for does not.

    Raises:
        SettingsError: if there is no such source; the message has all.
    """
    sources = sorted({own.dialect for own in published().values()})
    if not any(settings.source.casefold() in own.casefold() for own in sources):
        raise SettingsError(
            f"{named('source')} {settings.source!r} has no published weights"
            f"{did_you_mean(settings.source, sources) or '.'} Known: {', '.join(sources)}"
        )
    return [own for own in published().values() if _passes(own, settings)]


def show_published(name: str) -> dict[str, Any]:
    """Return all that the registry has of published weights, with what their recipe does in words as ``treatment``.

    Raises:
        SettingsError: if there is no such name.
    """
    own = find_published(name)
    return {**asdict(own), "treatment": RECIPES[own.recipe].words}


def _passes(own: Published, asked: ListSettings) -> bool:
    return (
        (asked.max_gmacs is None or (own.gmacs is not None and own.gmacs <= asked.max_gmacs))
        and (asked.min_accuracy is None or (own.top1 is not None and own.top1 >= asked.min_accuracy))
        and asked.licence.casefold() in own.licence.casefold()
        and asked.source.casefold() in own.dialect.casefold()
        and asked.backbone in own.backbone
    )


def fetch(settings: FetchSettings, *, progress: Progress = SILENT) -> list[tuple[Published, Path]]:
    """Return the entries and where their files are; all names are checked before the first is fetched.

    Raises:
        SettingsError: if there is no such name.
        WeightsError: if a file cannot be had.
    """
    entries = [find_published(name) for name in settings.names]
    found = []
    for own in entries:
        forbidden = licence_words(own.name, own.licence)
        if forbidden:
            progress.notice(forbidden)
        found.append((own, fetch_shown(own, progress=progress, timeout=settings.timeout)))
    return found


def inspect(settings: InspectSettings) -> Inspection:
    """Return what a file, run or folder of a model holds; nothing is run or written.

    Raises:
        WeightsError: if it holds no weights, damaged ones, or whole numbers where its network has floats.
        SettingsError: if the network that is named is unknown.
    """
    path, asked = settings.file, settings.read_as
    if str(path).startswith(TRANSFORMERS):
        path = find_folder(str(path))
    if is_timm_folder(path, backbone=asked):
        path = path / WEIGHTS
    elif is_model_folder(path):
        return _inspect_folder(path, asked)
    path = weights_file(path)
    if path.is_file() and is_own_file(path):
        return _inspect_own(path, asked)
    checkpoint = read_checkpoint(path)
    shapes = shapes_of(checkpoint.state)
    odd = "" if asked else stranger(shapes)
    found = [nearest_spelling(shapes, asked)] if asked else recognised(shapes) or ([] if odd else nearest(shapes))
    for own in found:
        if own.fits:
            check_kinds(path, own, checkpoint.state)
    facts = {"container": checkpoint.container, "sha256": checkpoint.sha256, "num_tensors": len(shapes)}
    entry = entry_of(checkpoint.sha256)
    return replace(_inspection(path, found, **facts), stranger=odd, published=entry.name if entry else "")


def _inspect_own(path: Path, asked: str) -> Inspection:
    own = load_weights(path)
    _check_network(path, own.backbone, asked)
    facts = {"backbone": own.backbone, "dialect": "vidpipe", "recipe": "", "num_classes": len(own.classes)}
    digest, count = file_sha256(path), len(own.state)
    return Inspection(path=path, container="vidpipe", sha256=digest, num_tensors=count, networks=(facts,),
                      origin=own.origin, classes=own.classes)  # fmt: skip


def _inspect_folder(folder: Path, asked: str) -> Inspection:
    own = read_folder(folder)
    _check_network(folder, own.architecture.name, asked)
    return _inspection(
        folder,
        [own.comparison],
        container="folder of transformers",
        sha256=folder_sha256(folder),
        num_tensors=len(own.state),
    )


def _check_network(place: Path, found: str, asked: str) -> None:
    if asked not in ("", found):
        raise WeightsError(f"{place} holds {found}, not {asked}")


def _inspection(
    path: Path, found: Sequence[Comparison], *, container: str, sha256: str, num_tensors: int
) -> Inspection:
    """Return an inspection of the networks that fit, or else of the nearest."""
    return Inspection(
        path=path,
        container=container,
        sha256=sha256,
        num_tensors=num_tensors,
        networks=tuple(
            {
                "backbone": own.backbone,
                "dialect": own.spelling.dialect,
                "recipe": own.spelling.recipe,
                "num_classes": own.num_classes,
            }
            for own in found
            if own.fits
        ),
        nearest=tuple(f"{own.backbone}: {report(own)}" for own in found if not own.fits),
    )


def convert_file(settings: ConvertSettings, *, progress: Progress = SILENT) -> Weights:
    """Write weights of another program as a file of vidpipe's, and return them.

    Args:
        settings: which weights, and where to.
        progress: of what has to be fetched; told what the weights were taken for, and what their licence forbids.

    Raises:
        SettingsError: if they may be of several networks, or a name is unknown.
        WeightsError: if they are of no network that vidpipe knows, or there is a file at the output already.
    """
    _check_output(settings)
    source = _source(settings, progress)
    weights = source.read(classes=_class_list(settings), recipe=RECIPES[settings.recipe] if settings.recipe else None)
    for sentence in told(weights, source, are_named=bool(settings.class_list), has_recipe=bool(settings.recipe)):
        progress.notice(sentence)
    weights = sealed(averaged(weights, settings.pool_time))
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(settings.out, weights)
    return weights


def _check_output(settings: ConvertSettings) -> None:
    if settings.out.suffix != SUFFIX:
        raise SettingsError(f"{named('out')} must end in {SUFFIX}; got {settings.out}")
    if settings.out.exists():
        raise WeightsError(f"{settings.out} exists already; choose another name, or remove it")
    if settings.recipe and settings.recipe not in RECIPES:
        raise SettingsError(
            f"{named('recipe')} must be one of {', '.join(RECIPES)}; got {settings.recipe!r}"
            f"{did_you_mean(settings.recipe, RECIPES)}"
        )


def _source(settings: ConvertSettings, progress: Progress) -> Source:
    """Return where the weights are that are to be converted, fetched if need be.

    Raises:
        WeightsError: if they are vidpipe's own already, or cannot be had.
    """
    given = Given(backbone=settings.read_as, place=settings.file)
    source = foreign_source(given, fetch=lambda entry: fetch_shown(entry, progress=progress))
    if source is not None:
        return source
    path = weights_file(settings.file)
    if path.is_file():
        own = read_head(path)
        raise WeightsError(
            f"{path} is a weights file of vidpipe's already, of {own.backbone}: nothing is to be converted, give it as "
            "it is"
        )
    return FileSource(path=path, backbone=settings.read_as)


def _class_list(settings: ConvertSettings) -> tuple[str, ...] | str | None:
    """Return the classes in a file, or the name of a list."""
    place = Path(settings.class_list)
    if settings.class_list and place.is_file():
        return read_class_list(place)
    return settings.class_list or None
