"""List, inspect, fetch and convert published weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.backbones.places import SUFFIX, weights_file
from ...pipeline.backbones.weights import Weights, is_own_file, load_weights, save_weights
from ...pipeline.checkpoints.containers import file_sha256, read_checkpoint
from ...pipeline.checkpoints.conversion import convert, shapes_of
from ...pipeline.checkpoints.dialects import comparisons, recognised, report
from ...pipeline.checkpoints.published import Published, find_published, published
from ...pipeline.checkpoints.recipes import RECIPES
from ...pipeline.checkpoints.strangers import stranger
from ...pipeline.errors import SettingsError, WeightsError, named
from ...pipeline.execution import SILENT, Progress
from ...pipeline.registry import did_you_mean
from .ready import fetch_shown
from .settings import ConvertSettings, FetchSettings, ListSettings

_NEAREST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What a weights file holds.

    Attributes:
        path: of the file.
        container: ``vidpipe``, or that of another program.
        sha256: of the file.
        num_tensors: in it.
        networks: what it may be: network, dialect, recipe and number of classes each.
        nearest: if it is none: the nearest networks, and what is missing or left over.
        stranger: if it is one that vidpipe knows and does not have: which, and why.
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
    origin: dict[str, str] | None = None
    classes: tuple[str, ...] = ()


def list_published(settings: ListSettings) -> list[Published]:
    """Return the entries that pass all filters; one without the figure that a filter asks for does not."""
    return [own for own in published().values() if _passes(own, settings)]


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
        if not own.is_commercial:
            progress.notice(f"the licence of {own.name}, {own.licence}, forbids commercial use")
        found.append((own, fetch_shown(own, progress=progress, timeout=settings.timeout)))
    return found


def inspect(path: Path) -> Inspection:
    """Return what a file or run holds; nothing is run or written.

    Raises:
        WeightsError: if it is no weights file, or damaged.
    """
    path = weights_file(path)
    if path.is_file() and is_own_file(path):
        own = load_weights(path)
        facts = {"backbone": own.backbone, "dialect": "vidpipe", "recipe": "", "num_classes": len(own.classes)}
        digest, count = file_sha256(path), len(own.state)
        return Inspection(path=path, container="vidpipe", sha256=digest, num_tensors=count, networks=(facts,),
                          origin=own.origin, classes=own.classes)  # fmt: skip
    checkpoint = read_checkpoint(path)
    shapes = shapes_of(checkpoint.state)
    told, found = stranger(shapes), recognised(shapes)
    near = () if found or told else sorted(comparisons(shapes), key=lambda own: own.distance)[:_NEAREST]
    return Inspection(
        path=path,
        container=checkpoint.container,
        sha256=checkpoint.sha256,
        num_tensors=len(shapes),
        networks=tuple(
            {
                "backbone": own.backbone,
                "dialect": own.spelling.dialect,
                "recipe": own.spelling.recipe,
                "num_classes": own.num_classes,
            }
            for own in found
        ),
        nearest=tuple(f"{own.backbone}: {report(own)}" for own in near),
        stranger=told,
    )


def convert_file(settings: ConvertSettings) -> Weights:
    """Write a file of another program as one of vidpipe's, and return it.

    Raises:
        SettingsError: if it may be of several networks, or a name is unknown.
        WeightsError: if it holds no network that vidpipe knows, or there is a file at the output already.
    """
    if settings.out.suffix != SUFFIX:
        raise SettingsError(f"{named('out')} must end in {SUFFIX}; got {settings.out}")
    if settings.out.exists():
        raise WeightsError(f"{settings.out} exists already; choose another name, or remove it")
    if settings.recipe and settings.recipe not in RECIPES:
        raise SettingsError(
            f"{named('recipe')} must be one of {', '.join(RECIPES)}; got {settings.recipe!r}"
            f"{did_you_mean(settings.recipe, RECIPES)}"
        )
    given = Path(settings.class_list)
    listed = given.read_text(encoding="utf-8").splitlines() if settings.class_list and given.is_file() else None
    weights = convert(
        read_checkpoint(settings.file),
        backbone=settings.read_as,
        classes=listed or settings.class_list or None,
        recipe=RECIPES[settings.recipe] if settings.recipe else None,
    )
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(settings.out, weights)
    return weights
