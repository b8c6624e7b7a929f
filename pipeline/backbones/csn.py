"""CSN: bottleneck networks whose 3×3×3 convolutions are depthwise, so that channels meet in 1×1×1 convolutions alone.

Source: Tran et al., Video Classification with Channel-Separated Convolutional Networks (ICCV 2019), section 3.2 and
Table 1; VMZ, pytorchvideo and mmaction2 compute the same. In the interaction-reduced form the depthwise convolution
takes the place of the 3×3×3; in the interaction-preserved one a 1×1×1 with a norm, and without a ReLU, precedes it.

Batch norms add 1e-5 to variances here and in pytorchvideo's, 1e-3 in VMZ's and mmaction2's: their recipes say so.
"""

from dataclasses import replace

from torch import nn

from .families import Family, full_stem
from .layers import WIDTHS, ConvNorm
from .resnet import ResNetSpec

_DEPTHS = (50, 101, 152)


def _reduced_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return a depthwise 3×3×3, with both strides."""
    return nn.Sequential(
        ConvNorm(planes, planes, kernel=(3, 3, 3), stride=(time, space, space), groups=planes),
    )


def _preserved_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return the same after a 1×1×1 in which the channels meet."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(1, 1, 1), relu=False), *_reduced_middle(planes, time, space))


_IRCSN = Family(
    name="ircsn",
    summary="ir-CSN: bottlenecks around a depthwise 3×3×3",
    stem=full_stem,
    middle=_reduced_middle,
    time_strides=(1, 2, 2, 2),
    usual_clip=(32, 2),
    widths=WIDTHS[:1],
)
_IPCSN = replace(
    _IRCSN,
    name="ipcsn",
    summary="ip-CSN: bottlenecks around a 1×1×1 and a depthwise 3×3×3",
    middle=_preserved_middle,
)


CSNS = tuple(
    ResNetSpec(family=family, depth=depth, width=WIDTHS[0]) for family in (_IRCSN, _IPCSN) for depth in _DEPTHS
)
