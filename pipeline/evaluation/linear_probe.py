"""The linear probe: logistic regression on pooled feature maps, the quick baseline before anything is trained.

The features are one vector per video, streamed out of a store that may be larger than memory (see `features.arrays`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ..execution import SILENT, Progress
from ..files import write_atomically
from .metrics import top_k_accuracy

_SCORED_ROWS = 4096  # at a time, so that float64 copies of the features take bounded memory


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """A fitted probe: scores = (features - mean) / scale · coefficientsᵀ + intercept.

    Attributes:
        classes: K names, in the order of the scores.
        mean: (D,) float64, of the training features.
        scale: (D,) float64, their standard deviation; 1 for a constant feature.
        coefficients: (K, D) float64.
        intercept: (K,) float64.
    """

    classes: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]

    def scores(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return (V, K) logits of features (V, D), as `features.arrays.pooled_features` returns them."""
        blocks = (features[start : start + _SCORED_ROWS] for start in range(0, len(features), _SCORED_ROWS))
        scores = [(block - self.mean) / self.scale @ self.coefficients.T + self.intercept for block in blocks]
        return np.concatenate(scores) if scores else np.empty((0, len(self.classes)))

    def save(self, path: Path) -> None:
        """Write the probe as an ``.npz`` file, whole or not at all.

        Raises:
            OutOfSpaceError: if the disk is full.
            FileError: if the file cannot be written for another reason.
        """
        arrays = {name: getattr(self, name) for name in ("mean", "scale", "coefficients", "intercept")}

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                np.savez(file, classes=np.array(self.classes), **arrays)

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> "LinearProbe":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("mean", "scale", "coefficients", "intercept")}
            return cls(classes=tuple(file["classes"].tolist()), **arrays)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A probe, and how its fitting went.

    Attributes:
        iterations: of the solver.
        converged: whether the solver converged; if not, the probe is as it was at the last iteration.
    """

    probe: LinearProbe
    iterations: int
    converged: bool


def fit_probe(
    features: npt.NDArray[np.float32],
    *,
    targets: npt.NDArray[np.int64],
    classes: Sequence[str],
    strength: float,
    max_iter: int,
) -> Fit:
    """Return scikit-learn's logistic regression, on standardised features.

    Args:
        features: (V, D).
        targets: (V,) indices into ``classes``; each class occurs.
        classes: K names, at least two.
        strength: C, the inverse of the penalty on the squared coefficients; larger fits the training videos closer.
        max_iter: iterations of the solver (L-BFGS) at most.
    """
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=strength, max_iter=max_iter)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        regression.fit(scaler.transform(features), targets)
    probe = LinearProbe(
        classes=tuple(classes),
        mean=np.asarray(scaler.mean_, np.float64),
        scale=np.asarray(scaler.scale_, np.float64),
        coefficients=_one_row_a_class(regression.coef_),
        intercept=_one_row_a_class(regression.intercept_),
    )
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return Fit(probe=probe, iterations=int(regression.n_iter_.max()), converged=converged)


def choose_strength(
    features: npt.NDArray[np.float32],
    *,
    targets: npt.NDArray[np.int64],
    classes: Sequence[str],
    held_out: npt.NDArray[np.bool_],
    strengths: Sequence[float],
    max_iter: int,
    progress: Progress = SILENT,
) -> dict[float, float]:
    """Return, for each strength, the share of held-out videos that a probe fitted on the others gets right.

    Args:
        features: (V, D).
        targets: (V,) indices into ``classes``.
        classes: K names.
        held_out: (V,) bool, some of them true, but not all videos of any class.
        strengths: those to try.
        max_iter: iterations of the solver at most.
        progress: advanced by each fit.
    """
    kept = ~held_out
    right = {}
    for strength in strengths:
        fit = fit_probe(features[kept], targets=targets[kept], classes=classes, strength=strength, max_iter=max_iter)
        right[strength] = top_k_accuracy(fit.probe.scores(features[held_out]), targets=targets[held_out], k=1)
        progress.advance()
    return right


def _one_row_a_class(fitted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (K, …): for two classes scikit-learn keeps one row, the second's score minus the first's."""
    rows = np.asarray(fitted, np.float64)
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows
