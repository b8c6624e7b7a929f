"""Rules from two tables: the parts of a block, and what stands before and after the stages.

Two patterns a spelling, however many parts it has: a file is compared with every spelling, tensor by tensor.
"""

from collections.abc import Callable, Mapping

from ..spelling import Rule

Parts = Mapping[str, str]  # our part -> theirs; of a block with ``{}`` where its place goes
Place = Callable[[int, int], str]  # stage (2 to 5), number in the stage -> how they call the block

# What Caffe2's blobs end with. Source: the converters of PySlowFast (``utils/c2_model_loading.py``) and VMZ; ``riv`` is
# the variance itself.
_OF_NORMS = {"weight": "_s", "bias": "_b", "running_mean": "_rm", "running_var": "_riv"}
_OF_OTHERS = {"weight": "_w", "bias": "_b"}
CAFFE2_IGNORED = (r".+_momentum", "lr", "model_iter")

_IN_BLOCK, _ELSEWHERE = r"res(\d)\.(\d+)\.(.+)\.(\w+)", r"(.+)\.(\w+)"


def torch_rules(ends: Parts, block: Parts, place: Place) -> tuple[Rule, ...]:
    """Return the rules of a dialect whose tensors end as torch's do."""
    return _rules(ends, block, place, lambda _part, own: f".{own}")


def caffe2_rules(ends: Parts, block: Parts, place: Place) -> tuple[Rule, ...]:
    """Return the rules of a dialect of Caffe2's blobs."""

    def ending(part: str, own: str) -> str:
        return (_OF_NORMS if part.endswith("norm") else _OF_OTHERS).get(own, "_not_counted")

    return _rules(ends, block, place, ending)


def _rules(ends: Parts, block: Parts, place: Place, ending: Callable[[str, str], str]) -> tuple[Rule, ...]:
    return (
        (
            _IN_BLOCK,
            lambda match: block[match[3]].format(place(int(match[1]), int(match[2]))) + ending(*match.group(3, 4)),
        ),
        (_ELSEWHERE, lambda match: ends.get(match[1], match[1]) + ending(*match.group(1, 2))),
    )
