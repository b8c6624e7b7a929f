"""Networks that vidpipe knows by their files and does not have: told with the reason, not by its nearest own."""

import re
from collections.abc import Iterable

_TRN = re.compile(r"(?:cls_head\.)?consensus\.(?:fc_fusion_scales\.(\d+)|classifier)\.1\.weight")


def stranger(keys: Iterable[str]) -> str:
    """Return what the file with these keys holds and why vidpipe has no such network; empty if that is not known.

    TRN's maps are a ResNet's. Its head, in mmaction2 and by its authors, has a network for each number of frames from
    two up, and in tests, too, judges three sets of frames of each number, drawn at random: scores differ from run to
    run, and are no linear layer's on a map, as a backbone's here.
    """
    scales = [match[1] for key in keys if (match := _TRN.fullmatch(key))]
    if not scales:
        return ""
    many = f"{max(map(int, filter(None, scales))) + 2} " if all(scales) else ""
    return (
        f"TRN, whose head judges relations among {many}segments, of which its source draws some at random in every "
        "test; vidpipe's backbones score one map by one linear layer. Take TSM or TIN: tsm_resnet_50, tin_resnet_50"
    )
