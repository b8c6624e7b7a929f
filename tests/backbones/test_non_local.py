"""The forms of non-local blocks against one position after the other."""

import pytest
import torch
from torch import Tensor, nn

from vidpipe.pipeline.backbones.non_local import PSF_DOT, PSF_SOFTMAX, NonLocal, NonLocalForm, with_non_local

FORMS = {
    "dot product": NonLocalForm(),
    "embedded Gaussian": NonLocalForm(affinity="softmax"),
    "scaled": NonLocalForm(affinity="softmax", scaled=True),
    "Gaussian": NonLocalForm(affinity="gaussian"),
    "PySlowFast's softmax": PSF_SOFTMAX,
    "PySlowFast's dot product": PSF_DOT,
}


def pooled(x: Tensor) -> list[Tensor]:
    """Return the largest values of every 2×2 positions, clip by clip (B, C); an odd last row or column is dropped."""
    _, _, frames, height, width = x.shape
    corners = [(t, i, j) for t in range(frames) for i in range(0, height - 1, 2) for j in range(0, width - 1, 2)]
    return [x[:, :, t, i : i + 2, j : j + 2].amax((2, 3)) for t, i, j in corners]


def keys_and_values(block: NonLocal, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    if block.form.affinity == "gaussian":
        return pooled(x), pooled(block.g(x))
    if not block.form.pools_first:
        return pooled(block.phi(x)), pooled(block.g(x))
    places = [own[:, :, None, None, None] for own in pooled(x)]
    return [block.phi(own).flatten(1) for own in places], [block.g(own).flatten(1) for own in places]


def literal(block: NonLocal, x: Tensor) -> Tensor:
    keys, values = keys_and_values(block, x)
    queries = x if block.form.affinity == "gaussian" else block.theta(x)
    y = torch.zeros(len(x), values[0].shape[1], *x.shape[2:], dtype=x.dtype)
    for place in torch.cartesian_prod(*(torch.arange(side) for side in x.shape[2:])).tolist():
        t, i, j = place
        products = torch.stack([(queries[:, :, t, i, j] * key).sum(1) for key in keys], dim=1)  # (B, Q)
        if block.form.affinity == "dot":
            weights = products / len(keys)
        else:
            scaled = products / keys[0].shape[1] ** 0.5 if block.form.scaled else products
            weights = scaled.exp() / scaled.exp().sum(1, keepdim=True)
        y[:, :, t, i, j] = sum(weights[:, own, None] * value for own, value in enumerate(values))
    return x + block.expand(y)


def lived_in(form: NonLocalForm) -> NonLocal:
    torch.manual_seed(0)
    block = NonLocal(8, form=form).double().eval()
    block.expand.norm.running_var.uniform_(0.5, 1.5)
    return block


@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 3, 5)])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_literal_one(form, shape):
    block, x = lived_in(form), torch.randn(2, 8, *shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(x), literal(block, x))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_picture_of_one_position_is_not_pooled_away(form):
    with torch.no_grad():
        assert lived_in(form)(torch.randn(1, 8, 2, 1, 1, dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_begins_as_the_identity(form):
    block, x = NonLocal(8, form=form).eval(), torch.randn(1, 8, 2, 4, 4)
    block.initialise()
    with torch.no_grad():
        assert torch.equal(block(x), x)


def test_the_blocks_of_a_stage_keep_their_names():
    stage = nn.Sequential(*(nn.Conv3d(8, 8, 1) for _ in range(3)))
    mixed = with_non_local(stage, channels=8, form=FORMS["Gaussian"], after=(0, 2))
    assert [name for name, _ in mixed.named_children()] == ["0", "nonlocal0", "1", "2", "nonlocal2"]
    assert mixed.get_submodule("1") is stage[1]
