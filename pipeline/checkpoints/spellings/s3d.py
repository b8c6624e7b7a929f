"""S3D: torchvision."""

import re

from ..spelling import Rule, Spelling

_FIRST = {"3": 5, "4": 8, "5": 14}  # the first block of mixed3 to mixed5 in torchvision's one row
# Branch -> the places along it. Of three, the last two are a module within; the pooled branch begins with its pool.
_ALONG = {"0": ("",), "1": ("0.", "1.0.", "1.1."), "2": ("0.", "1.0.", "1.1."), "3": ("", "1.")}


def _in_block(match: re.Match[str]) -> str:
    """Name a tensor of an Inception block: by the branch, and by the place of its convolution along it."""
    row, block, branch, place, kind, own = match.groups()
    unit = _ALONG[branch][int(place)]
    return f"features.{_FIRST[row] + int(block)}.branch{branch}.{unit}{'0' if kind == 'conv' else '1'}.{own}"


_RULES: tuple[Rule, ...] = (
    (r"conv1\.(\d)\.conv\.(.+)", r"features.0.\1.0.\2"),
    (r"conv1\.(\d)\.norm\.(.+)", r"features.0.\1.1.\2"),
    (r"conv2\.0\.conv\.(.+)", r"features.2.0.\1"),
    (r"conv2\.0\.norm\.(.+)", r"features.2.1.\1"),
    (r"conv2\.1\.conv\.(.+)", r"features.3.0.0.\1"),
    (r"conv2\.1\.norm\.(.+)", r"features.3.0.1.\1"),
    (r"conv2\.2\.conv\.(.+)", r"features.3.1.0.\1"),
    (r"conv2\.2\.norm\.(.+)", r"features.3.1.1.\1"),
    (r"mixed(\d)\.(\d)\.branches\.(\d)\.(\d)\.(conv|norm)\.(.+)", _in_block),
    (r"fc\.(.+)", r"classifier.1.\1"),
)

SPELLINGS = (Spelling(dialect="torchvision", backbones=("s3d",), rules=_RULES, recipe="tvS3D", linear_as=3),)
