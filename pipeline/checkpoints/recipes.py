"""How the sources of published weights prepare pixels, and which clips they test on.

Source: the sources' own files, as each recipe says. All take red, green, blue.
"""

from dataclasses import dataclass

from ..backbones.timm_frames import PREFIX, timm_preprocessing
from ..videos.preprocessing import Preprocessing

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LITE_MEAN, _LITE_STD = (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)
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


def _lite(size: int) -> Recipe:
    """Return EfficientNet-Lite's: TensorFlow resizes to 32 pixels more than it crops, without antialiasing."""
    return Recipe(
        preprocessing=Preprocessing(
            short_side=size + 32,
            crop=size,
            mean=_LITE_MEAN,
            std=_LITE_STD,
            interpolation="bicubic",
            antialias=False,
            bn_eps=1e-3,
        ),
        fps=None,
        words=f"EfficientNet-Lite's test on pictures: (value - 127) / 128, shorter side {size + 32}, the middle {size}",
    )


class _Recipes(dict[str, Recipe]):
    """Recipes by name; those of timm's networks, as ``timm:resnet18``, are read from timm when they are asked for."""

    def __missing__(self, name: str) -> Recipe:
        if not name.startswith(PREFIX):
            raise KeyError(name)
        return Recipe(preprocessing=timm_preprocessing(name), fps=None, words="timm's test on pictures, as it records")


RECIPES: dict[str, Recipe] = _Recipes(
    {
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
        "imagenet": Recipe(
            preprocessing=Preprocessing(
                short_side=256, crop=224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, rounding="down", bn_eps=1e-5
            ),
            fps=None,
            words="torchvision's test on pictures: shorter side 256, the middle 224; its second weights take 232",
        ),
        "mm2d": Recipe(
            preprocessing=Preprocessing(
                short_side=256, crop=224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, antialias=False, bn_eps=1e-5
            ),
            fps=None,
            words="mmaction2's 2D networks: shorter side 256, the middle 224; frames spread over the whole video",
        ),
        "tsm": Recipe(
            preprocessing=Preprocessing(
                short_side=256, crop=224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, rounding="down", bn_eps=1e-5
            ),
            fps=None,
            words="the TSM repository's test: shorter side 256, the middle 224; frames spread over the whole video",
        ),
        **{f"efficientnet_lite{index}": _lite(size) for index, size in enumerate((224, 240, 260, 280, 300))},
    }
)
