"""Networks of one path with bottlenecks: slow-only, I3D, C2D."""

from ..spelling import Spelling

_PTV_STAGE = {f"res{index}": f"blocks.{index - 1}" for index in range(2, 6)}


def _ptv_blocks(stage: str, prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the rules of a stage of bottlenecks as pytorchvideo names them."""
    block = rf"{stage}\.(\d+)"
    to = rf"{prefix}.res_blocks.\1"
    return (
        (rf"{block}\.reduce\.conv\.(.+)", rf"{to}.branch2.conv_a.\2"),
        (rf"{block}\.reduce\.norm\.(.+)", rf"{to}.branch2.norm_a.\2"),
        (rf"{block}\.middle\.0\.conv\.(.+)", rf"{to}.branch2.conv_b.\2"),
        (rf"{block}\.middle\.0\.norm\.(.+)", rf"{to}.branch2.norm_b.\2"),
        (rf"{block}\.expand\.conv\.(.+)", rf"{to}.branch2.conv_c.\2"),
        (rf"{block}\.expand\.norm\.(.+)", rf"{to}.branch2.norm_c.\2"),
        (rf"{block}\.shortcut\.conv\.(.+)", rf"{to}.branch1_conv.\2"),
        (rf"{block}\.shortcut\.norm\.(.+)", rf"{to}.branch1_norm.\2"),
    )


_PTV_SLOW = (
    (r"conv1\.0\.(conv|norm)\.(.+)", r"blocks.0.\1.\2"),
    *(rule for stage, prefix in _PTV_STAGE.items() for rule in _ptv_blocks(stage, prefix)),
    (r"fc\.(.+)", r"blocks.5.proj.\1"),
)

SPELLINGS = (
    Spelling(dialect="pytorchvideo", backbones=("slow_only_50", "slow_only_101"), rules=_PTV_SLOW, recipe="fb256"),
)
