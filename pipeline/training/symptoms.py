"""What a finished training looks like when it has learnt nothing, or the wrong thing: pure functions of its history."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

SAMENESS = "sameness"  # the name in records of `Task.sameness`; of the validation with "val_" before it
# Above this share of the loss of a blind answer, nothing was learnt that is worth the name.
_AT_CHANCE = 0.95
# Of the pairs of videos that get the same answer: 0.97 is what one class for 98.5 % of them comes to.
_ONE_CLASS = 0.97
_FEW_EPOCHS = 3  # fewer, and the first may well be the best


def symptoms(
    history: Sequence[Mapping[str, Any]], *, best_epoch: int, blind_loss: float, figure: str, validated: bool
) -> tuple[str, ...]:
    """Return a sentence for each thing that looks wrong; none for a training that went as it should.

    Args:
        history: one record per epoch.
        best_epoch: the one whose weights were kept, from 0.
        blind_loss: the least training loss of an answer that is the same for every video.
        figure: the name of the task's figure in the records; it is in [0, 1], and 1 is best.
        validated: whether a validation chose the best epoch, so that its figures are in the records.
    """
    if not history:
        return ()
    before = "val_" if validated else ""
    what = "held-out videos" if validated else "training videos"
    kept, found = history[best_epoch], []
    ended = statistics.fmean(record["loss"] for record in history[-max(1, len(history) // 4) :])
    if ended > _AT_CHANCE * blind_loss:
        found.append(
            f"the training loss stayed at chance: it ended at {ended:.3g}, and the same answer for every video has "
            f"{blind_loss:.3g}. Train for more epochs, at another learning rate, or with another optimizer; and look "
            "whether a clip shows what tells the classes apart"
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
