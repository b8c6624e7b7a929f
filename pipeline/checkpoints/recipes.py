"""How the sources of published weights prepare pixels, and which clips they test on.

Source: the sources' own files, as each recipe says. All take red, green, blue.
"""

from dataclasses import dataclass

from ..videos.preprocessing import Preprocessing

_FB_MEAN, _FB_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a source treats its networks' inputs and outputs.

    Attributes:
        preprocessing: of pixels, and of the head.
        fps: the rate in frames/s to which videos are resampled; None for their own.
        words: one line of where it stands in the source, and what of it vidpipe does not do.
    """

    preprocessing: Preprocessing
    fps: float | None
    words: str


RECIPES: dict[str, Recipe] = {
    "fb256": Recipe(
        preprocessing=Preprocessing(
            short_side=256,
            crop=256,
            mean=_FB_MEAN,
            std=_FB_STD,
            antialias=False,
            rounding="down",
            bn_eps=1e-5,
            head_window=(64, 7, 7),
            head_activation="softmax",
        ),
        fps=30.0,
        words="PySlowFast's and pytorchvideo's test: shorter side 256, whole height, probabilities averaged",
    ),
    "vmae": Recipe(
        preprocessing=Preprocessing(
            short_side=224, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), rounding="down"
        ),
        fps=None,
        words="VideoMAE's test: shorter side 224, 5 clips of 16 frames at stride 4, three crops",
    ),
    "vj2": Recipe(
        preprocessing=Preprocessing(
            short_side=292, crop=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), rounding="down"
        ),
        fps=None,
        words="V-JEPA 2's probes: shorter side 256/224 of the crop, every fourth frame, 8 segments and three views",
    ),
}
