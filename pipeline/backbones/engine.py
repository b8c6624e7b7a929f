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
from .torch_engine import TorchEngine, torch_provenance
from .weights import Weights


class Engine(Protocol):
    """Something that runs one backbone over clips.

    Attributes:
        provenance: what besides the weights determines the results, as JSON values that a store records and compares:
            "name", as registered, "device", "precision", and anything else that the engine depends on.
    """

    provenance: dict[str, Any]

    def run(self, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return features and scores of each clip, independent of its place and of the other clips.

        Args:
            clips: (n, L, S, S, 3) uint8, preprocessed.

        Returns:
            features (n, T', H', W', C) float16 and scores (n, K) float32.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineEntry:
    """What the registry knows about an engine.

    Attributes:
        build: makes it from a backbone's weights and the settings; raises SettingsError for a device or precision that
            this machine lacks.
        provenance: what `Engine.provenance` will be with these settings, without any weights; raises as ``build``.
        summary: one line of what it is.
    """

    build: Callable[[Weights, EngineSettings], Engine]
    provenance: Callable[[EngineSettings], dict[str, Any]]
    summary: str


ENGINES: Registry[EngineEntry] = Registry("engine")
ENGINES.add(
    "torch",
    EngineEntry(
        build=TorchEngine,
        provenance=torch_provenance,
        summary="eager torch, batch norm folded, in low precision where it pays",
    ),
)


def build_engine(weights: Weights, settings: EngineSettings, *, name: str = "torch") -> Engine:
    """Return the engine called ``name`` for these weights.

    Raises:
        SettingsError: if there is no such engine, or this machine lacks the device or the precision.
        WeightsError: if the weights do not fit their backbone.
    """
    return ENGINES[name].build(weights, settings)


def engine_provenance(settings: EngineSettings, *, name: str = "torch") -> dict[str, Any]:
    """Return the ``provenance`` of the engine called ``name`` with these settings, without building it.

    Raises:
        SettingsError: if there is no such engine, or this machine lacks the device or the precision.
    """
    return ENGINES[name].provenance(settings)
