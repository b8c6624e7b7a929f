"""Eager torch in its fastest form.

A clip's result never depends on the clips that share its batch: a batch always has the same shape (the last one is
filled up), so that the same kernels run in the same order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import SettingsError, VideoError
from ..videos.transforms import normalise
from .devices import resolve_device, resolve_precision
from .engine_settings import EngineSettings
from .weights import Weights, load_backbone

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
M = TypeVar("M", bound=nn.Module)
# On a CPU, networks of 30 GMAC are fastest clip by clip (larger batches leave the cache), and then no pass is filled up
# with blanks. Small networks gain up to a factor of two from batches of 4, if a video has that many clips for them.
_AUTO_BATCH = {"cpu": 1, "cuda": 8}


class TorchEngine:
    """Eager torch with batch norm folded into the convolutions, channels-last memory and low precision where it pays.

    Args:
        weights: of the backbone.
        settings: where and how to run it.

    Raises:
        SettingsError: if this machine lacks the device or the precision.
    """

    def __init__(self, weights: Weights, settings: EngineSettings) -> None:
        self.device = resolve_device(settings.device)
        self.provenance = torch_provenance(settings)
        self.batch: int = self.provenance["batch"]
        self._preprocessing = weights.preprocessing
        self._dtype = DTYPES[self.provenance["precision"]]
        self._backbone = fold_batch_norm(load_backbone(weights))
        self._backbone.to(device=self.device, dtype=self._dtype)
        lay_channels_last(self._backbone)
        for part in (self._backbone.neck, self._backbone.classifier):
            part.float()  # scores stay float32, which costs nothing in so small layers

    def run(self, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return features and scores of each clip, independent of its place and of the other clips.

        Args:
            clips: (n, L, S, S, 3) uint8, preprocessed, on any device.

        Returns:
            features (n, T', H', W', C) float16 and scores (n, K) float32.

        Raises:
            SettingsError: if the clips have another shape or dtype, or one that the backbone cannot take.
            VideoError: if a feature or score is not finite, or beyond float16's range.
        """
        self._check(clips)
        self._set_threads()
        grid = self._backbone.feature_shape(clips.shape[1], clips.shape[2])
        on_gpu = self.device.type == "cuda"
        # Pinned memory lets copies to and from the GPU run beside the computation.
        features = torch.empty((len(clips), *grid), dtype=torch.float16, pin_memory=on_gpu)
        scores = torch.empty((len(clips), self._backbone.num_classes), dtype=torch.float32, pin_memory=on_gpu)
        clips = clips.pin_memory() if on_gpu and clips.device.type == "cpu" else clips
        for start in range(0, len(clips), self.batch):
            part = slice(start, start + self.batch)
            maps, logits = self._run_batch(clips[part])
            features[part].copy_(maps, non_blocking=on_gpu)
            scores[part].copy_(logits, non_blocking=on_gpu)
        if on_gpu:
            torch.cuda.current_stream(self.device).synchronize()  # the only wait: everything before it is queued
        self._check_finite(features, scores)
        return features.numpy(), scores.numpy()

    @torch.inference_mode()
    def _run_batch(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Run at most ``batch`` clips; return features (m, T', H', W', C) float16 and scores (m, K), on the device."""
        count = len(clips)
        clips = clips.to(self.device, non_blocking=True)
        if count < self.batch:
            filling = clips.new_zeros((self.batch - count, *clips.shape[1:]))
            clips = torch.cat([clips, filling])
        with _strict_convolutions():
            features, scores = self._backbone(normalise(clips, self._preprocessing).to(self._dtype))
        return features[:count].permute(0, 2, 3, 4, 1).half(), scores[:count]

    def _set_threads(self) -> None:
        """Make torch use as many threads as the provenance says: in float32 the last bits depend on it.

        Set at each run, because torch keeps one number per calling thread.
        """
        threads = self.provenance.get("threads")
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _check(self, clips: Tensor) -> None:
        """Raise unless the clips are uint8 (n, L, S, S, 3)."""
        square = clips.ndim == 5 and clips.shape[2] == clips.shape[3] and clips.shape[4] == 3
        if clips.dtype != torch.uint8 or not square:
            raise SettingsError(
                f"an engine takes uint8 clips (n, L, S, S, 3); got {clips.dtype} {tuple(clips.shape)}. "
                "Prepare them with transforms.preprocess_test."
            )

    def _check_finite(self, features: Tensor, scores: Tensor) -> None:
        """Raise if float16 could not hold a feature, or the network computed NaN or infinity."""
        if not (torch.isfinite(features).all() and torch.isfinite(scores).all()):
            raise VideoError(
                f"{self._backbone.name} in {self.provenance['precision']} gives features or scores that are not finite "
                "or beyond 65504, the most that float16 holds. Have its weights diverged? If many videos fail so, "
                "train it again, with a lower learning rate."
            )


def torch_provenance(settings: EngineSettings) -> dict[str, Any]:
    """Return what a `TorchEngine` of these settings has as its ``provenance``; no network is loaded for it.

    Raises:
        SettingsError: if this machine lacks the device or the precision.
    """
    device = resolve_device(settings.device)
    return {
        "name": "torch",
        "device": device.type,
        "precision": resolve_precision(settings.precision, device),
        "batch": settings.batch or _AUTO_BATCH[device.type],
        **({"threads": settings.threads or torch.get_num_threads()} if device.type == "cpu" else {}),
    }


def lay_channels_last(network: nn.Module) -> None:
    """Lay out the weights of convolutions, in place, with their channels last, in two dimensions as in three."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def fold_batch_norm(network: M) -> M:
    """Fold each batch norm into the convolution before it, in place, and return the network.

    A module with a ``conv`` and a ``norm`` applies the one right after the other, unless the network says that its
    modules do not (``folds``).

    The network must be in evaluation mode; it computes the same as before, up to rounding, in fewer passes over memory.

    Raises:
        ValueError: if it is in training mode, where norms depend on the batch and cannot be folded.
    """
    for module in network.modules() if getattr(network, "folds", True) else ():
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, (nn.Conv2d, nn.Conv3d)) and isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d)):
            if module.training:
                raise ValueError("batch norm can be folded in evaluation mode only; call eval() first")
            module.register_module("conv", fuse_conv_bn_eval(conv, norm))
            module.register_module("norm", nn.Identity())
    return network


@contextmanager
def _strict_convolutions() -> Iterator[None]:
    """Make cuDNN choose deterministic kernels by shape alone, and float32 mean float32 (no TF32); no effect on CPUs."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
