"""`vidpipe weights`: what is listed, and what a licence forbids."""

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from heard_progress import Heard

from vidpipe.cli.main import main
from vidpipe.pipeline.checkpoints.published import find_published, published
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.stages.weights import run
from vidpipe.stages.weights.settings import FetchSettings


def listed(*words: str) -> list[dict]:
    result = CliRunner().invoke(main, ["weights", "list", "--json", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (("--max-gmacs", "5"), lambda own: own["gmacs"] is not None and own["gmacs"] <= 5),
        (("--min-accuracy", "78"), lambda own: own["top1"] is not None and own["top1"] >= 78),
        (("--licence", "bsd"), lambda own: "BSD" in own["licence"]),
        (("--source", "mmaction2"), lambda own: own["dialect"] == "mmaction2"),
        (("--backbone", "x3d"), lambda own: own["backbone"].startswith("x3d")),
        (("--backbone", "x3d", "--max-gmacs", "3"), lambda own: "x3d" in own["backbone"] and (own["gmacs"] or 9) <= 3),
    ],
)
def test_the_list_is_narrowed_by_cost_accuracy_licence_source_and_network(words, passes):
    everything = [dataclasses.asdict(own) for own in published().values()]
    found = listed(*words)
    assert found == [own for own in everything if passes(own)]
    assert 0 < len(found) < len(everything)


def test_filters_that_nothing_passes_are_told_and_so_is_an_unknown_source():
    nothing = CliRunner().invoke(main, ["weights", "list", "--backbone", "x3d", "--max-gmacs", "0.001"])
    assert (nothing.exit_code, nothing.stdout) == (0, f"None of the {len(published())} published weights passes.\n")
    assert listed("--max-gmacs", "0.001") == []
    unknown = CliRunner().invoke(main, ["weights", "list", "--source", "torchvison"])
    assert unknown.exit_code == 2
    assert "--source 'torchvison' has no published weights; did you mean torchvision? Known: " in unknown.stderr


def test_a_table_shows_what_the_source_says():
    shown = CliRunner().invoke(main, ["weights", "list", "--backbone", "r2plus1d_18", "--source", "torchvision"]).stdout
    assert shown.split("  ")[0] == "name" and "GMACs a clip" in shown.splitlines()[0]
    row = next(line for line in shown.splitlines() if line.startswith("r2plus1d_18.tv_k400"))
    assert row.split()[:7] == ["r2plus1d_18.tv_k400", "torchvision", "16", "1", "40.519", "112", "67.463"]


@pytest.mark.parametrize("name", ["resnet_50.tv_in1k", "c2d_50_mm.mm_k400_100e_8x8_in1k", "x3d_s.mm_k400",
                                  "resnet_50.mm_k400_100e_1x1x8", "efficientnet_lite0"])  # fmt: skip
def test_costs_are_of_a_whole_clip_at_the_size_beside_them(name):
    """Sources count norms and pools too, or do not: a tenth. Eight frames for one, or 224 for 256 pixels, is more."""
    own = find_published(name)
    counted = backbone_macs(own.backbone, num_frames=own.frames, size=own.size) / 1e9
    assert own.gmacs == pytest.approx(counted, rel=0.1)


def test_show_tells_the_treatment_in_words():
    shown = CliRunner().invoke(main, ["weights", "show", "resnet_50.tv2_in1k"]).stdout
    assert "treatment   torchvision's test of its second weights on pictures: shorter side 232, the middle 224" in shown
    assert "gmacs       32.712" in shown


def test_a_licence_that_forbids_commercial_use_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    free, bound = (
        dataclasses.replace(own, licence=licence)
        for own, licence in zip(published().values(), ("BSD-3-Clause", "CC-BY-NC-4.0"), strict=False)
    )
    monkeypatch.setattr(run, "find_published", {own.name: own for own in (free, bound)}.__getitem__)
    monkeypatch.setattr(run, "fetch_shown", lambda own, **_: tmp_path / own.name)
    heard = Heard()
    found = run.fetch(FetchSettings(names=(free.name, bound.name)), progress=heard)
    assert [path.name for _, path in found] == [free.name, bound.name]
    assert heard.calls == [f"the licence of {bound.name}, CC-BY-NC-4.0, forbids commercial use"]
