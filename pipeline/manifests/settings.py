"""The settings of making manifests."""

import re
from pathlib import Path

from ..errors import SettingsError, named
from ..settings import check_fields, setting, settings

TEST_FRACTION, SEED = 0.2, 0


@settings
class FoldersSettings:
    """Which folders to list, and how their classes are split."""

    directory: Path = setting(help="Holds one folder per class.")
    test_fraction: float = setting(
        default=TEST_FRACTION,
        help="Part of each class for the split 'test'.",
        at_least=0,
        below=1,
        must="at least 0 and less than 1",
    )
    seed: int = setting(default=SEED, help="Another seed draws another split.")

    group_by: str | None = setting(
        default=None,
        help="Regular expression that finds in each video's path, below the folder of its class, what it belongs to; "
        "such as 'subject\\d+', or with one pair of brackets around that part. Videos of one group stay in one split.",
        metavar="PATTERN",
        unset="no groups",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.group_by is not None:
            _check_pattern(self.group_by)


def _check_pattern(text: str) -> None:
    """Refuse what is no regular expression, or has several groups in brackets.

    Raises:
        SettingsError: saying what is wrong.
    """
    try:
        brackets = re.compile(text).groups
    except re.error as error:
        raise SettingsError(f"{named('group_by')} must be a regular expression; got '{text}': {error}") from error
    if brackets > 1:
        raise SettingsError(
            f"{named('group_by')} must have one pair of brackets at most, around what names the group; got {brackets} "
            f"in '{text}'. Write (?:…) for the others"
        )
