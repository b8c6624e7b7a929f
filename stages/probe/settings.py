"""The settings of a linear probe."""

import math
from pathlib import Path

from ...pipeline.errors import SettingsError, named
from ...pipeline.features.patterns import ROLES, Pattern
from ...pipeline.settings import check_fields, setting, settings


@settings
class ProbeSettings:
    """What to probe, and how."""

    store: Path = setting(help="Feature store that vidpipe extract made.")
    out: Path = setting(help="Run directory, new or of the same probe.")
    backbones: tuple[str, ...] = setting(default=(), help="Probe this one; may be repeated.", unset="all")
    role: str | None = setting(default=None, help="Probe the backbones of this role.", choices=ROLES)
    pattern: Pattern | None = setting(
        default=None,
        help="Probe a mixture as E:C (as 1:3) or first: the pooled maps of both roles, side by side.",
        unset="each backbone alone",
    )
    num_clips: int | None = setting(
        default=None, help="Clips of a video, evenly spread.", at_least=1, unset="all that are stored"
    )
    split: str = setting(default="train", help="The videos to fit on.")
    test_split: str = setting(default="test", help="The videos to score.")
    splits: Path | None = setting(
        default=None,
        help="Manifest of the same videos whose splits count in place of the store's, such as UCF-101's second.",
    )
    strengths: tuple[float, ...] = setting(
        default=(1.0,),
        help="Inverse of the penalty. Of several, the best on a held-out fifth of the training videos is used.",
    )
    max_iter: int = setting(default=1000, help="Iterations of the solver at most.", at_least=1)

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        check_fields(self)
        self._check_choice()
        finite = all(0 < strength < math.inf for strength in self.strengths)
        if not self.strengths or not finite:
            raise SettingsError(
                f"{named('strengths')} must be a positive number; got {', '.join(map(str, self.strengths)) or 'none'}"
            )
        if self.split == self.test_split:
            raise SettingsError(
                f"{named('split')} and {named('test_split')} must differ; both are {self.split!r}. The accuracy on "
                "the training videos is given in any case"
            )
        if self.store.resolve() in (self.out.resolve(), *self.out.resolve().parents):
            raise SettingsError(f"{named('out')} {self.out} lies in the feature store; choose a directory outside it")

    def _check_choice(self) -> None:
        """Refuse choices of backbones that exclude each other."""
        if self.role and self.backbones:
            raise SettingsError(
                f"give {named('role')} {self.role} or {named('backbones')} {self.backbones[0]}, not both"
            )
        if self.role and self.pattern:
            raise SettingsError(
                f"{named('pattern')} {self.pattern} chooses the roles itself; leave {named('role')} {self.role} out"
            )
        if len(set(self.backbones)) < len(self.backbones):
            raise SettingsError(f"give each {named('backbones')} once; got {', '.join(self.backbones)}")
