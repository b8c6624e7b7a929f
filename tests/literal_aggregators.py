"""The aggregation units of the FASTER paper as printed: one clip, one gate, one convolution or matrix at a time.

What the fast implementations are held against; they share their weights, which are cut into the paper's matrices here.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidpipe.pipeline.aggregators.recurrent import Recurrent

Step = Callable[[Tensor, Tensor], Tensor]  # (o_{t-1}, x_t) -> o_t


def literal_scores(model: Recurrent, features: Tensor) -> Tensor:
    """Return (B, K) logits for ``features`` (B, N, T', H', W', C), clip by clip."""
    clips = [clip.permute(0, 4, 1, 2, 3) for clip in features.unbind(dim=1)]  # N times (B, C, T', H', W')
    if model.pools_clips:
        clips = [clip.mean(dim=(2, 3, 4), keepdim=True) for clip in clips]
    step = STEPS[type(model.unit).__name__](model.unit)
    state = clips[0]  # o_0 = x_0
    for clip in clips[1:]:
        state = step(state, clip)
    return F.linear(state.mean(dim=(2, 3, 4)), model.classifier.weight, model.classifier.bias)


def _kernels(linear: nn.Module, *rows: int) -> list[Tensor]:
    """Return a layer's weight as 1x1x1 convolutions of so many rows each (all of them, if none are given)."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return [part[:, :, None, None, None] for part in weight.split(rows or (len(weight),))]


def fast_gru(unit: nn.Module) -> Step:
    """Eq. 4, then eq. 3."""
    b, c = unit.bottleneck, unit.candidate.weight.shape[0]
    u_rx, u_zx, v_x = _kernels(unit.from_input, b, b, c)
    u_ro, u_zo = _kernels(unit.from_state, b, b)
    (w_r,), (w_z,), (v_o,) = (_kernels(layer) for layer in (unit.read, unit.update, unit.candidate))

    def step(o: Tensor, x: Tensor) -> Tensor:
        r_prime = torch.relu(F.conv3d(x, u_rx) + F.conv3d(o, u_ro))
        z_prime = torch.relu(F.conv3d(x, u_zx) + F.conv3d(o, u_zo))
        r = torch.sigmoid(F.conv3d(r_prime, w_r))
        z = torch.sigmoid(F.conv3d(z_prime, w_z))
        o_bar = torch.tanh(F.conv3d(x, v_x) + F.conv3d(r * o, v_o))
        return (1 - z) * o + z * o_bar

    return step


def gru(unit: nn.Module) -> Step:
    """Eq. 2, then eq. 3."""
    c = unit.candidate.weight.shape[0]
    g_rx, g_zx, v_x = _kernels(unit.from_input, c, c, c)
    g_ro, g_zo = _kernels(unit.from_state, c, c)
    (v_o,) = _kernels(unit.candidate)

    def step(o: Tensor, x: Tensor) -> Tensor:
        r = torch.sigmoid(F.conv3d(x, g_rx) + F.conv3d(o, g_ro))
        z = torch.sigmoid(F.conv3d(x, g_zx) + F.conv3d(o, g_zo))
        o_bar = torch.tanh(F.conv3d(x, v_x) + F.conv3d(r * o, v_o))
        return (1 - z) * o + z * o_bar

    return step


def concat(unit: nn.Module) -> Step:
    """Eq. 5."""
    (u,), (w,) = _kernels(unit.from_input), _kernels(unit.from_state)
    norm = unit.norm

    def step(o: Tensor, x: Tensor) -> Tensor:
        mixed = F.conv3d(o, w) + F.conv3d(x, u)
        mean, var, momentum = norm.running_mean, norm.running_var, norm.momentum or 0.0
        return torch.relu(F.batch_norm(mixed, mean, var, norm.weight, norm.bias, norm.training, momentum, norm.eps))

    return step


def lstm(unit: nn.Module) -> Step:
    """Graves (2013), eq. 7 to 11, without peepholes, by torch's own cell."""
    c = unit.from_state.weight.shape[1]
    cell = nn.LSTMCell(c, c, dtype=unit.from_state.weight.dtype)
    weights = {
        "weight_ih": unit.from_input.weight,
        "bias_ih": unit.from_input.bias,
        "weight_hh": unit.from_state.weight,
        "bias_hh": torch.zeros_like(unit.from_input.bias),
    }
    memory: list[Tensor] = []

    def step(o: Tensor, x: Tensor) -> Tensor:
        before = memory.pop() if memory else o.flatten(1)  # the cell begins as x_0, as o does
        h, now = torch.func.functional_call(cell, weights, (x.flatten(1), (o.flatten(1), before)))
        memory.append(now)
        return h[:, :, None, None, None]

    return step


STEPS: dict[str, Callable[[nn.Module], Step]] = {
    "FastGRUUnit": fast_gru,
    "GRUUnit": gru,
    "ConcatUnit": concat,
    "LSTMUnit": lstm,
}
