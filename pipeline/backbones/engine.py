"""Engines run a backbone over clips for extraction.

A clip's result must never depend on the clips that share its batch: stores are compared bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..registry import Registry
from .engine_settings import EngineSettings
from .torch_engine import TorchEngine
from .weights import Weights


class Engine(Protocol):
    """Something that runs one backbone over clips.

    Attributes:
        provenance: what besides the weights determines the results, for a store to record and compare (JSON): "name",
            as registered, "device", "precision", and what else the engine depends on.
    """

    provenance: dict[str, Any]

    def run(self, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return features and scores of each clip, whatever its place and companions.

        Args:
            clips: (n, L, S, S, 3) uint8, preprocessed.

        Returns:
            features (n, T', H', W', C) float16 and scores (n, K) float32.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineEntry:
    """What the registry holds of an engine.

    Attributes:
        build: makes it of a backbone's weights and of where and how to run; raises SettingsError for what is not to be
            had here.
        summary: one line of what it is.
    """

    build: Callable[[Weights, EngineSettings], Engine]
    summary: str


ENGINES: Registry[EngineEntry] = Registry("engine")
ENGINES.add(
    "torch", EngineEntry(build=TorchEngine, summary="eager torch, batch norm folded, in low precision where it pays")
)


def build_engine(weights: Weights, settings: EngineSettings, *, name: str = "torch") -> Engine:
    """Return the engine called ``name`` for these weights.

    Raises:
        SettingsError: if there is no such engine, or device or precision are not to be had here.
        WeightsError: if the weights do not fit their backbone.
    """
    return ENGINES[name].build(weights, settings)
