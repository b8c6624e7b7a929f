"""The linear probe: logistic regression on pooled feature maps, the quick baseline before anything is trained.

Maps are streamed through dask.array, a few videos at a time, so that a store may be larger than memory; what is kept
is one vector a video.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from .metrics import top_k_accuracy
from .run_directory import write_atomically
from .store_backbone import BackboneGroup
from .store_format import FEATURE_DTYPE

BLOCK_BYTES = 32 * 2**20  # of maps that a thread holds at a time
READERS = 4
SCORED_ROWS = 4096  # at a time: what they take in float64 does not grow with their number


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """A fitted probe: scores = (features - mean) / scale · coefficientsᵀ + intercept.

    Attributes:
        classes: K names, in the order of the scores.
        mean: (D,) float64, of the training features.
        scale: (D,) float64, their standard deviation; 1 where a feature never changes.
        coefficients: (K, D) float64.
        intercept: (K,) float64.
    """

    classes: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]

    def scores(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return (V, K) logits of features (V, D), as `pooled_features` gives them."""
        blocks = (features[start : start + SCORED_ROWS] for start in range(0, len(features), SCORED_ROWS))
        scores = [(block - self.mean) / self.scale @ self.coefficients.T + self.intercept for block in blocks]
        return np.concatenate(scores) if scores else np.empty((0, len(self.classes)))

    def save(self, path: Path) -> None:
        """Write the probe as an ``.npz`` file, whole or not at all.

        Raises:
            OutOfSpaceError: if the disk is full.
            RunError: if the file cannot be written for another reason.
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
        converged: whether it came to its end; if not, the probe is where it stood.
    """

    probe: LinearProbe
    iterations: int
    converged: bool


def stored_maps(
    group: BackboneGroup,
    videos: Sequence[int],
    *,
    clips: Sequence[int],
    block_bytes: int = BLOCK_BYTES,
    read: Callable[[int], None] = lambda _: None,
) -> da.Array:
    """Return the maps of view 0 as a lazy Dask array, (V, n, T', H', W', C) float16; reading begins with its compute.

    Args:
        group: the backbone's part of a store.
        videos: V indices of videos that are done.
        clips: n clip numbers, each of them due.
        block_bytes: a block holds as many videos as fit into it, and one at least.
        read: called with the number of videos that were just read, from any thread.
    """
    shape = (len(clips), *group.feature_shape)
    videos_per_block = max(1, block_bytes // (math.prod(shape) * FEATURE_DTYPE.itemsize))

    def read_block(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        maps = np.empty((len(block), *shape), FEATURE_DTYPE)
        for place, video in enumerate(block.tolist()):
            maps[place] = group.read(video, clips=clips)
        read(len(block))
        return maps

    numbers = np.asarray(videos, np.int64)
    indices = da.from_array(numbers, chunks=(videos_per_block,))  # pyright: ignore[reportArgumentType] (its default)
    new_axes = list(range(1, 1 + len(shape)))
    chunks = (indices.chunks[0], *((size,) for size in shape))
    empty = np.empty((0,) * (1 + len(shape)), FEATURE_DTYPE)  # spares Dask a trial run
    return indices.map_blocks(read_block, new_axis=new_axes, chunks=chunks, dtype=FEATURE_DTYPE, meta=empty)


def pooled_features(
    group: BackboneGroup,
    videos: Sequence[int],
    *,
    clips: Sequence[int],
    block_bytes: int = BLOCK_BYTES,
    read: Callable[[int], None] = lambda _: None,
) -> npt.NDArray[np.float32]:
    """Return (V, C) float32, the mean of each video's maps over clips, time and grid, in bounded memory.

    Beside the result there are at most `READERS` blocks of maps in memory, however many videos there are. Arguments as
    for `stored_maps`.

    Raises:
        StoreError: if a clip that is due is not there, or is damaged.
    """
    maps = stored_maps(group, videos, clips=clips, block_bytes=block_bytes, read=read)
    pooled = maps.mean(axis=tuple(range(1, maps.ndim - 1)), dtype=np.float32)  # (V, C)
    return pooled.compute(scheduler="threads", num_workers=READERS)


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
        classes: K names, two at least.
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
) -> dict[float, float]:
    """Return, for each strength, the share of held-out videos that a probe fitted on the others gets right.

    Args:
        features: (V, D).
        targets: (V,) indices into ``classes``.
        classes: K names.
        held_out: (V,) bool; some are, and each class keeps one that is not.
        strengths: those to try.
        max_iter: iterations of the solver at most.
    """
    kept = ~held_out
    right = {}
    for strength in strengths:
        fit = fit_probe(features[kept], targets=targets[kept], classes=classes, strength=strength, max_iter=max_iter)
        right[strength] = top_k_accuracy(fit.probe.scores(features[held_out]), targets=targets[held_out], k=1)
    return right


def _one_row_a_class(fitted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (K, …): of two classes scikit-learn keeps one row, the second's score over the first's."""
    rows = np.asarray(fitted, np.float64)
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows
