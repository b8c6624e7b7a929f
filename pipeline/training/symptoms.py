"""What a finished training looks like when it has learnt nothing, or the wrong thing: pure functions of its history."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAMENESS = "sameness"  # the name in records of `Task.sameness`; of the validation with "val_" before it
# Above this share of the loss of a blind answer, nothing was learnt that is worth the name.
_AT_CHANCE = 0.95
# Of the pairs of videos that get the same answer: 0.97 is what one class for 98.5 % of them comes to.
_ONE_CLASS = 0.97
_CLEARLY = 1.96  # standard errors: chance is below Wilson's 95 % interval, the one of evaluated accuracies
_FEW_EPOCHS = 3  # fewer, and the first may well be the best


@dataclass(frozen=True, kw_only=True, slots=True)
class Blind:
    """What the best answer that is the same for every training video reaches.

    Attributes:
        loss: its mean training loss.
        goodness: its mean goodness, in [0, 1]: chance.
        num_videos: to train on.
    """

    loss: float
    goodness: float
    num_videos: int


def symptoms(
    history: Sequence[Mapping[str, Any]], *, best_epoch: int, blind: Blind, figure: str, validated: bool
) -> tuple[str, ...]:
    """Return a sentence for each thing that looks wrong; none for a training that went as it should.

    Args:
        history: one record per epoch.
        best_epoch: the one whose weights were kept, from 0.
        blind: what an answer that is the same for every video reaches.
        figure: the name of the task's figure in the records; it is in [0, 1], and 1 is best.
        validated: whether a validation chose the best epoch, so that its figures are in the records.
    """
    if not history:
        return ()
    before = "val_" if validated else ""
    what = "held-out videos" if validated else "training videos"
    kept, found = history[best_epoch], []
    last = history[-max(1, len(history) // 4) :]
    ended, good = (statistics.fmean(record[name] for record in last) for name in ("loss", figure))
    if ended > _AT_CHANCE * blind.loss and not _is_clearly_better(good, blind):
        found.append(
            f"the training loss stayed at chance: it ended at {ended:.3g}, and the same answer for every video has "
            f"{blind.loss:.3g} (training {figure} {good:.3g}, chance {blind.goodness:.3g}). "
            "Train for more epochs, at another learning rate, or with another optimizer; and "
            "look whether a clip shows what tells the classes apart"
        )
    perfect = kept[f"{before}{figure}"] >= 1
    if validated and best_epoch == 0 and len(history) >= _FEW_EPOCHS and not perfect:
        found.append(
            f"the first of {len(history)} epochs was the best on the {what}: whatever came later, it did not carry "
            "over to them. Use more videos, a smaller network, a lower learning rate, or more weight decay or dropout"
        )
    if kept.get(f"{before}{SAMENESS}", 0.0) >= _ONE_CLASS and not perfect:
        found.append(
            f"nearly all {what} are taken for one class. Look whether the labels belong to the videos, and how many "
            "videos each class has; then train longer or at another learning rate"
        )
    return tuple(found)


def _is_clearly_better(goodness: float, blind: Blind) -> bool:
    """Return whether the mean goodness of the training videos is above chance by more than chance would explain.

    Source: Wilson (1927); his interval holds the shares that this test does not refuse.
    """
    chance = blind.goodness
    return goodness - chance > _CLEARLY * math.sqrt(chance * (1 - chance) / blind.num_videos)
