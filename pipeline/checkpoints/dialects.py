"""All spellings that vidpipe reads, and which network a foreign file holds."""

from collections.abc import Iterator, Mapping

from ..backbones.registry import plain_name
from ..errors import WeightsError
from .spelling import Comparison, Shape, Spelling, compare
from .spellings import images, resnets
from .spellings.timm_networks import timm_spelling

SPELLINGS: tuple[Spelling, ...] = (*resnets.SPELLINGS, *images.SPELLINGS)


def comparisons(shapes: Mapping[str, Shape], *, backbone: str | None = None) -> Iterator[Comparison]:
    """Yield how a file compares with every network in every spelling, or with one network alone."""
    if backbone is not None:
        foreign, plain = timm_spelling(backbone), plain_name(backbone)
        known = [foreign] if foreign else [own for own in SPELLINGS if plain in own.backbones]
        yield from (compare(own, backbone, shapes) for own in known)
        return
    for spelling in SPELLINGS:
        for name in spelling.backbones:
            yield compare(spelling, name, shapes)


def recognised(shapes: Mapping[str, Shape]) -> list[Comparison]:
    """Return the networks whose tensors are exactly those of a file; several where the file does not tell."""
    return [own for own in comparisons(shapes) if own.fits]


def read_as(shapes: Mapping[str, Shape], backbone: str) -> Comparison:
    """Return how the file spells ``backbone``.

    Raises:
        WeightsError: if it does not hold that network; the message has what is missing and what is left over of the
            spelling that comes nearest.
    """
    found = sorted(comparisons(shapes, backbone=backbone), key=lambda own: own.distance)
    if not found:
        raise WeightsError(f"of {backbone} no published spelling is known")
    if not found[0].fits:
        raise WeightsError(f"the file does not hold {backbone}: {report(found[0])}")
    return found[0]


def report(found: Comparison, *, most: int = 5) -> str:
    """Return in words what of a file does not fit a network: all kinds of it, ``most`` names of each."""
    shapes = tuple(f"{name} is {own}, not {wanted}" for name, own, wanted in found.differing)
    parts = {"missing": found.missing, "left over": found.left_over, "of another shape": shapes}
    told = "; ".join(f"{len(own)} {what}: {_first(own, most)}" for what, own in parts.items() if own)
    return f"as {found.spelling.dialect} spells it, {told or 'everything fits'}"


def _first(names: tuple[str, ...], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
