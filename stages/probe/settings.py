"""What a linear probe is asked to do."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...pipeline.errors import SettingsError
from ...pipeline.features.patterns import ROLES, Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSettings:
    """What to probe, and how.

    Attributes:
        store: the feature store.
        out: the run directory.
        backbones: their names; () = all in the store. Without a pattern, each is probed by itself.
        role: only the backbones extracted in this role.
        pattern: probe what an aggregator sees under this pattern: the pooled maps of both roles, side by side.
        num_clips: N, evenly spread; None = all that are stored.
        split: the videos to fit on.
        test_split: the videos to score.
        splits: a manifest of the same videos whose splits count in place of the store's; None = the store's.
        strengths: C of the regression; of several, the best on a fifth of the training videos, held out, is taken.
        max_iter: iterations of the solver at most.
    """

    store: Path
    out: Path
    backbones: tuple[str, ...] = ()
    role: str | None = None
    pattern: Pattern | None = None
    num_clips: int | None = None
    split: str = "train"
    test_split: str = "test"
    splits: Path | None = None
    strengths: tuple[float, ...] = (1.0,)
    max_iter: int = 1000

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        self._check_choice()
        if not self.strengths or min(self.strengths) <= 0 or not np.isfinite(self.strengths).all():
            raise SettingsError(f"--C must be a positive number; got {', '.join(map(str, self.strengths)) or 'none'}")
        if self.max_iter < 1:
            raise SettingsError(f"--max-iter must be at least 1; got {self.max_iter}")
        if self.split == self.test_split:
            raise SettingsError(
                f"--split and --test-split must differ; both are {self.split!r}. The accuracy on the training videos "
                "is given in any case"
            )
        if self.store.resolve() in (self.out.resolve(), *self.out.resolve().parents):
            raise SettingsError(f"--out {self.out} lies in the feature store; choose a directory outside it")

    def _check_choice(self) -> None:
        """Refuse choices of backbones that exclude each other."""
        if self.role not in (None, *ROLES):
            raise SettingsError(f"--role must be expensive or cheap; got {self.role!r}")
        if self.role and self.backbones:
            raise SettingsError(f"give --role {self.role} or --backbone {self.backbones[0]}, not both")
        if self.role and self.pattern:
            raise SettingsError(f"--pattern {self.pattern} chooses the roles itself; leave --role {self.role} out")
        if len(set(self.backbones)) < len(self.backbones):
            raise SettingsError(f"give each --backbone once; got {', '.join(self.backbones)}")
