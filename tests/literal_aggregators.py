"""The aggregators as printed: FASTER's units one clip, one gate, one convolution or matrix at a time; the collaborative
memory, and what stands beside it, one position at a time.

What the fast implementations are held against; they share their weights, which are cut into the paper's matrices here.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidpipe.pipeline.aggregators.memory import ContextAggregator, MultiClip
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


Clips = list[Tensor]  # X_n, (P, C) each; the clips of one video


def literal_context_scores(model: ContextAggregator | MultiClip, features: Tensor) -> Tensor:
    """Return (B, K) logits for ``features`` (B, N, T', H', W', C): the mean of the logits of each clip by itself."""
    videos = []
    for video in features.flatten(2, 4):
        clips = list(video)  # N times (P, C)
        if isinstance(model, ContextAggregator):
            told = CONTEXTS[type(model.context).__name__](model.context, clips)
            infuse, w_o = INFUSIONS[type(model.infusion).__name__], _matrix(model.infusion.output)
            clips = [infuse(x, m, w_o) for x, m in zip(clips, told, strict=True)]
        logits = [F.linear(x.mean(dim=0), model.classifier.weight, model.classifier.bias) for x in clips]
        videos.append(torch.stack(logits).mean(dim=0))
    return torch.stack(videos)


def literal_gated_maps(features: Tensor, w_k: Tensor, w_v: Tensor, w_q: Tensor, w_o: Tensor) -> Tensor:
    """Return (B, N, T', H', W', C), the maps gated by the memory; W_k, W_v and W_q are (C, C'), W_O is (C', C)."""
    videos = []
    for video in features.flatten(2, 4):
        told = pop(push(list(video), w_k, w_v), list(video), w_q)
        videos.append(torch.stack([gate(x, m, w_o) for x, m in zip(video, told, strict=True)]))
    return torch.stack(videos).view_as(features)


def push(clips: Clips, w_k: Tensor, w_v: Tensor) -> Tensor:
    """Memory push, (C', C')."""
    memory = torch.zeros(w_k.shape[1], w_v.shape[1], dtype=w_k.dtype, device=w_k.device)
    for x in clips:
        for row in x.split(1):  # (1, C), a position
            memory = memory + (row @ w_k).T @ (row @ w_v)
    return memory / len(clips)


def pop(memory: Tensor, clips: Clips, w_q: Tensor) -> Clips:
    """Memory pop: M_n (P, C') of each clip."""
    return [torch.cat([(row @ w_q) @ memory for row in x.split(1)]) for x in clips]


def gate(x: Tensor, m: Tensor, w_o: Tensor) -> Tensor:
    """Feature gating of X_n (P, C) by M_n (P, C')."""
    return torch.sigmoid(m.mean(dim=0, keepdim=True) @ w_o) * x + x


def residual(x: Tensor, m: Tensor, w_o: Tensor) -> Tensor:
    """The memory, added."""
    return x + torch.cat([row @ w_o for row in m.split(1)])


def associative(context: nn.Module, clips: Clips) -> Clips:
    """What the memory tells each clip, (P, C'); the implementation's W_v is P times the printed one."""
    w_k, w_v, w_q = (_matrix(layer) for layer in (context.key, context.value, context.query))
    return pop(push(clips, w_k, w_v / len(clips[0])), clips, w_q)


def average(context: nn.Module, clips: Clips) -> Clips:
    """The mean of X_n W_v, (1, C') for every clip."""
    rows = [row @ _matrix(context.value) for x in clips for row in x.split(1)]
    return [torch.cat(rows).sum(dim=0, keepdim=True) / len(rows)] * len(clips)


def maximum(context: nn.Module, clips: Clips) -> Clips:
    """The maximum of X_n W_v, (1, C') for every clip."""
    rows = [row @ _matrix(context.value) for x in clips for row in x.split(1)]
    highest = rows[0]
    for row in rows[1:]:
        highest = torch.where(row > highest, row, highest)
    return [highest] * len(clips)


def _matrix(linear: nn.Module) -> Tensor:
    """Return a layer's weight as the equations write it, to the right of X."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.T


CONTEXTS: dict[str, Callable[[nn.Module, Clips], Clips]] = {
    "AssociativeMemory": associative,
    "AverageContext": average,
    "MaxContext": maximum,
}
INFUSIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"FeatureGate": gate, "Residual": residual}
