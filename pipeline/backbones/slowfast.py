"""The SlowFast networks: of the paper at several depths and widths, and of those who publish weights."""

from dataclasses import dataclass, replace
from functools import partial

from .layers import BLOCKS, WIDTHS, width_suffix
from .non_local import PSF_DOT, NonLocalForm
from .slowfast_network import SlowFast

_SUMMARY = "SlowFast: a slow path of few frames and many channels, and a fast one of all frames and few channels"
_USUAL_CLIP = (32, 2)  # frames of the fast path, which are the clip's, and their stride
# Frames and stride of the slow path in the usual clip -> alpha: the slow path takes a frame in alpha.
_ALPHAS = {"4x16": 8, "8x8": 4}
# (depth, rates) -> frames that the convolutions between the paths span, where these are not the paper's 5. Source: the
# networks of PySlowFast and pytorchvideo; mmaction2 also has 7 for its SlowFast-101. Depths 14 and 26 follow 50.
_LATERAL_KERNELS = {(depth, "8x8"): 7 for depth in (14, 26, 50)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowFastSpec:
    """One SlowFast network.

    Attributes:
        depth: of the slow path (14, 26, 50, 101), and of the fast one unless ``fast_depth`` says otherwise.
        rates: frames and stride of the slow path in the usual clip; a part of the name.
        alpha: the slow path takes one frame in so many.
        lateral_kernel: frames that the convolutions between the paths span.
        width: of the slow path (64, 32, 16).
        variant: what follows the rates in its name.
        usual_clip: (L, stride in frames) of the fast path in the source's figures.
        fast_depth: of the fast path, where it is not the slow one's.
        lateral_norm: whether a norm and a ReLU follow the convolutions between the paths.
        spanning: how many blocks of res4 span time, the first ones; None for all.
        non_local: of the slow path's non-local blocks; None for none.
        classifier_bias: whether the classifier has one.
    """

    depth: int
    rates: str
    alpha: int
    lateral_kernel: int
    width: int = WIDTHS[0]
    variant: str = ""
    usual_clip: tuple[int, int] = _USUAL_CLIP
    fast_depth: int | None = None
    lateral_norm: bool = True
    spanning: int | None = None
    non_local: NonLocalForm | None = None
    classifier_bias: bool = True

    @property
    def name(self) -> str:
        """As ``slowfast_50_8x8``; with another width than the paper's, as ``slowfast_14_8x8_w16``."""
        depths = f"{self.depth}_{self.fast_depth}" if self.fast_depth else f"{self.depth}"
        variant = f"_{self.variant}" if self.variant else ""
        return f"slowfast_{depths}_{self.rates}{variant}{width_suffix(self.width)}"

    @property
    def summary(self) -> str:
        """The same for all."""
        return _SUMMARY

    def build(self, *, num_classes: int, dropout: float) -> SlowFast:
        """Return a freshly initialised network, on torch's default device."""
        return SlowFast(self, num_classes=num_classes, dropout=dropout)


def slowfast_specs() -> list[SlowFastSpec]:
    """Return every combination of depth, rates and width, and the networks of which weights are published."""
    combinations = [
        SlowFastSpec(
            depth=depth,
            rates=rates,
            alpha=alpha,
            lateral_kernel=_LATERAL_KERNELS.get((depth, rates), 5),
            width=width,
        )
        for rates, alpha in _ALPHAS.items()
        for depth in BLOCKS
        for width in WIDTHS
    ]
    return [*combinations, *_published_specs()]


def _published_specs() -> list[SlowFastSpec]:
    """Return the networks that differ from the paper's in something that their weights need.

    Source: the configurations of mmaction2 (``mm``), X-Temporal (``xt``, whose slow path takes every fourth frame in
    spite of its name) and PySlowFast: "R101_50_50", in which only six blocks of res4 span time, and its non-local ones.
    """
    mm = partial(SlowFastSpec, variant="mm", lateral_norm=False)
    sixteen = partial(SlowFastSpec, depth=101, rates="16x8", alpha=4, lateral_kernel=5, usual_clip=(64, 2), spanning=6)
    non_local = partial(SlowFastSpec, depth=50, lateral_kernel=5, variant="nl_dot", non_local=PSF_DOT)
    return [
        mm(depth=50, rates="4x16", alpha=8, lateral_kernel=5),
        mm(depth=50, rates="8x8", alpha=4, lateral_kernel=7),
        mm(depth=101, rates="8x8", alpha=4, lateral_kernel=7),
        mm(depth=101, fast_depth=50, rates="4x16", alpha=8, lateral_kernel=5),
        mm(depth=50, rates="4x16", alpha=4, lateral_kernel=5, variant="xt", classifier_bias=False),
        sixteen(),
        sixteen(variant="nl_dot", non_local=replace(PSF_DOT, res3=(), res4=(6, 13, 20))),
        non_local(rates="4x16", alpha=8),
        non_local(rates="8x8", alpha=4),
    ]
