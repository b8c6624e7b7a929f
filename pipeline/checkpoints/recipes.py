"""How the sources of published weights prepare pixels, and which clips they test on.

Source: the sources' own files, as each recipe says. All take red, green, blue.
"""

from dataclasses import dataclass, replace

from ..backbones.timm_frames import PREFIX, timm_preprocessing
from ..videos.preprocessing import Preprocessing

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LITE_MEAN, _LITE_STD = (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)
_FB_MEAN, _FB_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_KINETICS_MEAN, _KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # VMZ's and torchvision's


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


# Of mmaction2's 3D networks. Its ImageNet's mean and std are of values up to 255.
_MM_3D = Preprocessing(
    short_side=256,
    crop=256,
    mean=(123.675 / 255, 116.28 / 255, 103.53 / 255),
    std=(58.395 / 255, 57.12 / 255, 57.375 / 255),
    antialias=False,
    bn_eps=1e-5,
)
_MM_CSN = replace(_MM_3D, bn_eps=1e-3)
# Of networks that see one frame of each of the segments of a video.
_MM_2D = Preprocessing(
    short_side=256,
    crop=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    antialias=False,
    bn_eps=1e-5,
    clip_rule="segments",
)
_IMAGENET = Preprocessing(
    short_side=256, crop=224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, rounding="down", bn_eps=1e-5
)
# Of pytorchvideo's networks that end in scores.
_PTV = Preprocessing(
    short_side=256,
    crop=256,
    mean=_FB_MEAN,
    std=_FB_STD,
    antialias=False,
    rounding="down",
    bn_eps=1e-5,
    head_window=(64, 7, 7),
    clip_rule="linspace",
    slow_frames="spread",
)
# Of torchvision's and VMZ's networks, which squash.
_TV_112 = Preprocessing(
    short_side=128,
    squash=(128, 171),
    crop=112,
    mean=_KINETICS_MEAN,
    std=_KINETICS_STD,
    antialias=False,
    bn_eps=1e-5,
)
_TSM = replace(_MM_2D, antialias=True, rounding="down")


def _x3d_recipes(size: int) -> dict[str, Recipe]:
    """Return the recipes of all dialects of the X3D that is tested at ``size`` pixels.

    The head's window is the map of the training's crop: of 160 pixels at 182, 224 at 256, 312 at 356.
    """
    side = {182: 5, 256: 7, 356: 10}[size]
    pyslowfast = replace(
        _PTV,
        short_side=size,
        crop=size,
        head_window=(64, side, side),
        head_activation="softmax",
        slow_frames="every",
    )
    mmaction2 = replace(
        pyslowfast,
        mean=(114.75 / 255,) * 3,
        std=(57.38 / 255,) * 3,
        rounding="nearest",
        head_window=None,
        head_activation="none",
    )
    pytorchvideo = replace(pyslowfast, head_activation="none")
    efficient = replace(pytorchvideo, head_window=None)
    frames = "10 clips of frames spread over T×τ at 30 frames/s"
    return {
        f"fbX3D_{size}": Recipe(
            preprocessing=pyslowfast,
            fps=30.0,
            words=f"PySlowFast's test of X3D: shorter side {size}, whole height, probabilities averaged; {frames}",
        ),
        f"ptvX3D_{size}": Recipe(
            preprocessing=pytorchvideo,
            fps=30.0,
            words=f"pytorchvideo's test of X3D: shorter side {size}, whole height, scores averaged; {frames}",
        ),
        f"efficientX3D_{size}": Recipe(
            preprocessing=efficient,
            fps=30.0,
            words=f"pytorchvideo's EfficientX3D, whose head averages the whole map; shorter side {size}; {frames}",
        ),
        f"mmX3D_{size}": Recipe(
            preprocessing=mmaction2,
            fps=30.0,
            words=f"mmaction2's test of X3D: shorter side {size}, three crops of {size}; {frames}",
        ),
    }


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


_FIXED: dict[str, Recipe] = {
    "fb256": Recipe(
        preprocessing=replace(_PTV, head_activation="softmax"),
        fps=30.0,
        words="PySlowFast's and pytorchvideo's test: shorter side 256, whole height, probabilities averaged",
    ),
    "tv112": Recipe(
        preprocessing=_TV_112,
        fps=15.0,
        words="torchvision's test of its 18-layer networks: 128×171 whatever the aspect ratio, 5 clips of 16 frames",
    ),
    "tvS3D": Recipe(
        preprocessing=replace(_TV_112, short_side=256, squash=(256, 256), crop=224, bn_eps=1e-3, head_window=(2, 7, 7)),
        fps=15.0,
        words="torchvision's test of S3D: 256×256 whatever the aspect ratio, one clip of 128 frames, scored as a clip",
    ),
    "vmz": Recipe(
        preprocessing=replace(_TV_112, bn_eps=1e-3),
        fps=None,
        words="VMZ's test of R(2+1)D in Caffe2: 128×171 whatever the aspect ratio, 10 clips of 8 or 32 frames",
    ),
    "mm_r2plus1d": Recipe(
        preprocessing=Preprocessing(
            short_side=256,
            crop=256,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            antialias=False,
        ),
        fps=None,
        words="mmaction2's test of its R(2+1)D, whose norms have two eps: shorter side 256, three crops of 256",
    ),
    "ptv256": Recipe(
        preprocessing=_PTV,
        fps=30.0,
        words="as PySlowFast's test, for pytorchvideo's networks that end in scores: these are averaged over positions",
    ),
    "ptv256_segments": Recipe(
        preprocessing=replace(_PTV, clip_rule="segments"),
        fps=None,
        words="PySlowFast's test on Something-Something: middles of segments of the whole video, three crops of 256",
    ),
    "mm3d": Recipe(
        preprocessing=_MM_3D,
        fps=None,
        words="mmaction2's test of 3D networks: shorter side 256, three crops of 256, the video's own rate",
    ),
    "xt": Recipe(
        preprocessing=Preprocessing(
            short_side=128,
            crop=112,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            rounding="down",
            bn_eps=1e-5,
        ),
        fps=None,
        words="X-Temporal's test of its SlowFast: shorter side 128 by PIL, 112 from the middle, the video's own rate",
    ),
    "vmz_csn": Recipe(
        preprocessing=replace(_TV_112, short_side=256, squash=(256, 342), crop=256, bn_eps=1e-3),
        fps=None,
        words="VMZ's test of CSN: 256×342 whatever the aspect ratio, three crops of 256, the video's own rate",
    ),
    "mm3d_csn": Recipe(
        preprocessing=_MM_CSN,
        fps=None,
        words="mmaction2's test of the CSN that it trained, and of its copy of VMZ's ip-CSN from IG-65M: "
        "shorter side 256, three crops of 256 of 10 clips, the video's own rate",
    ),
    "mm3d_csn_vmz": Recipe(
        preprocessing=replace(_MM_CSN, mean=_KINETICS_MEAN, std=_KINETICS_STD),
        fps=None,
        words="mmaction2's test of its other copies of VMZ's CSN (from scratch, from Sports-1M): VMZ's mean and std",
    ),
    "imagenet": Recipe(
        preprocessing=_IMAGENET,
        fps=None,
        words="torchvision's test on pictures: shorter side 256, the middle 224",
    ),
    "imagenet232": Recipe(
        preprocessing=replace(_IMAGENET, short_side=232),
        fps=None,
        words="torchvision's test of its second weights on pictures: shorter side 232, the middle 224",
    ),
    "mm2d": Recipe(
        preprocessing=_MM_2D,
        fps=None,
        words="mmaction2's 2D networks: shorter side 256, the middle 224; its frames are spread over the whole video",
    ),
    "mm2d_dense": Recipe(
        preprocessing=replace(_MM_2D, clip_rule="stride"),
        fps=None,
        words="mmaction2's 2D networks on dense clips: shorter side 256, the middle 224; every eighth of 64 frames",
    ),
    "tsm": Recipe(
        preprocessing=_TSM,
        fps=None,
        words="the TSM repository's test: shorter side 256, the middle 224; frames spread over the whole video",
    ),
    "xt2d": Recipe(
        preprocessing=_TSM,
        fps=None,
        words="X-Temporal's test of 2D networks: shorter side 256 by PIL, the middle 224; frames spread over the video",
    ),
    "tsm_dense": Recipe(
        preprocessing=replace(_TSM, clip_rule="stride"),
        fps=None,
        words="the TSM repository's test of dense clips: shorter side 256, the middle 224; every eighth of 64 frames",
    ),
    **{f"efficientnet_lite{index}": _lite(size) for index, size in enumerate((224, 240, 260, 280, 300))},
    "vmae": Recipe(
        preprocessing=Preprocessing(short_side=224, crop=224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, rounding="down"),
        fps=None,
        words="VideoMAE's test: shorter side 224, 5 clips of 16 frames at stride 4, three crops",
    ),
    "vj2": Recipe(
        preprocessing=Preprocessing(short_side=292, crop=256, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, rounding="down"),
        fps=None,
        words="V-JEPA 2's probes: shorter side 256/224 of the crop, every fourth frame, 8 segments and three views",
    ),
}
for _size in (182, 256, 356):
    _FIXED |= _x3d_recipes(_size)
RECIPES: dict[str, Recipe] = _Recipes(_FIXED)
