"""The settings of making manifests."""

from pathlib import Path

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

    def __post_init__(self) -> None:
        check_fields(self)
