"""All spellings that vidpipe reads, and which network a foreign file holds."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from ..backbones.places import HOW
from ..backbones.registry import plain_name
from ..errors import WeightsError
from .spelling import Comparison, Shape, Spelling, compare
from .spellings import csn, images, resnets, s3d, slowfast, video_resnets, x3d
from .spellings.timm_networks import timm_spelling

SPELLINGS: tuple[Spelling, ...] = (
    *resnets.SPELLINGS,
    *slowfast.SPELLINGS,
    *video_resnets.SPELLINGS,
    *s3d.SPELLINGS,
    *x3d.SPELLINGS,
    *csn.SPELLINGS,
    *images.SPELLINGS,
)
_NEAREST = 3


def comparisons(shapes: Mapping[str, Shape], *, spellings: Iterable[Spelling] = SPELLINGS) -> Iterator[Comparison]:
    """Yield how a file compares with every network in every one of the spellings."""
    for spelling in spellings:
        for name in spelling.backbones:
            yield compare(spelling, name, shapes)


def nearest(shapes: Mapping[str, Shape]) -> list[Comparison]:
    """Return the comparisons with the networks that a file is nearest to, the nearest first."""
    return sorted(comparisons(shapes), key=lambda own: own.distance)[:_NEAREST]


def recognised(shapes: Mapping[str, Shape]) -> list[Comparison]:
    """Return the networks whose tensors are exactly those of a file; several where the file does not tell."""
    likely = [own for own in SPELLINGS if _has_classifier(own, shapes)]
    return [own for own in comparisons(shapes, spellings=likely) if own.fits]


def _has_classifier(spelling: Spelling, shapes: Mapping[str, Shape]) -> bool:
    """Return whether a file has a classifier of the source's name, which tells most sources apart and costs nothing."""
    name = spelling.name("fc.weight")
    return name in shapes or ("*" in name and any(fnmatchcase(own, name) for own in shapes))


def read_as(shapes: Mapping[str, Shape], backbone: str) -> Comparison:
    """Return how the file spells ``backbone``.

    Raises:
        WeightsError: if it does not hold that network; the message has what is missing and what is left over of the
            spelling that comes nearest.
        SettingsError: if there is no such network.
    """
    found = nearest_spelling(shapes, backbone)
    if not found.fits:
        raise WeightsError(f"the file does not hold {backbone}: {report(found)}")
    return found


def nearest_spelling(shapes: Mapping[str, Shape], backbone: str) -> Comparison:
    """Return how a file compares with one network, in the spelling of it that comes nearest.

    Raises:
        WeightsError: if no other program's spelling of it is known.
        SettingsError: if there is no such network.
    """
    plain, foreign = plain_name(backbone), timm_spelling(backbone, shapes)
    known = [foreign] if foreign else [own for own in SPELLINGS if plain in own.backbones]
    if not known:
        raise WeightsError(
            f"it is no file of vidpipe's, and no other program's spelling of {backbone} is known. Give {HOW}"
        )
    return min((compare(own, backbone, shapes) for own in known), key=lambda own: own.distance)


def report(found: Comparison, *, most: int = 5) -> str:
    """Return in words what of a file does not fit a network: all kinds of it, ``most`` names of each."""
    shapes = tuple(f"{name} is {own}, not {wanted}" for name, own, wanted in found.differing)
    parts = {"missing": found.missing, "left over": found.left_over, "of another shape": shapes}
    told = "; ".join(f"{len(own)} {what}: {_first(own, most)}" for what, own in parts.items() if own)
    return f"as {found.spelling.dialect} spells it, {told or 'everything fits'}"


def _first(names: tuple[str, ...], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
