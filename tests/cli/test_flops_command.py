"""`vidpipe flops`, as it is typed."""

import json

import pytest
from click.testing import CliRunner, Result

from vidpipe.cli.main import COMMANDS, main


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "flops", ("flops", "Count."))


FASTER32 = "--expensive r2plus1d_50 --cheap r2d_26 --aggregator fast-gru --pattern 1:1 --frames 32 --clips 8"


def vidpipe(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["flops", *arguments])


def counted(*arguments: str) -> dict:
    result = vidpipe(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_backbone_by_itself():
    text = vidpipe("--backbone", "r2d_26", "--frames", "16").stdout
    assert text.startswith("r2d_26, 1 clip of 16 frames at 224×224, maps 2×7×7×2048\nGMACs:\n")
    assert text.splitlines()[-1].split() == ["clips", "r2d_26", "1", "6.333", "6.333"]
    found = counted("--backbone", "r2d_26", "--clips", "3", "--size", "112", "--classes", "5")
    assert (found["kind"], found["num_frames"], found["crop"], found["num_classes"]) == ("backbone", 8, 112, 5)
    assert found["per_video"] == pytest.approx(3 * found["per_clip"])


def test_a_backbone_of_two_paths():
    text = vidpipe("--backbone", "slowfast_50_8x8", "--frames", "32", "--size", "256").stdout
    assert text.startswith("slowfast_50_8x8, 1 clip of 32 frames at 256×256, maps 8×8×8×2304\nGMACs:\n")
    assert text.splitlines()[-1].split() == ["clips", "slowfast_50_8x8", "1", "65.709", "65.709"]


def test_frames_that_are_not_said_are_those_the_backbone_is_known_for():
    found = counted("--backbone", "slowfast_50_4x16")
    assert (found["num_frames"], found["feature_shape"]) == (32, [4, 7, 7, 2304])
    assert found["per_clip"] == pytest.approx(27.64, abs=0.0051)
    assert counted("--backbone", "slowfast_50_4x16", "--frames", "8")["num_frames"] == 8
    both = ("--expensive", "slowfast_50_4x16", "--cheap", "r2d_26", "--clips", "2", "--aggregator", "average")
    assert counted(*both, "--pattern", "1:1")["num_frames"] == 32
    assert counted(*both, "--pattern", "1:1", "--frames", "16")["num_frames"] == 16
    assert counted(*both, "--pattern", "all-cheap")["num_frames"] == 8
    assert counted(*both, "--preset", "faster16")["num_frames"] == 16


def test_an_aggregator_by_itself_a_step_and_a_video():
    found = counted("--aggregator", "fast-gru", "--channels", "2048", "--grid", "1x7x7", "--clips", "32")
    first, further = found["parts"]
    assert (first["num_clips"], further["num_clips"]) == (1, 31)
    assert first["per_clip"] < 0.001
    assert further["per_clip"] == pytest.approx(0.7193, abs=0.000_05)
    assert found["per_video"] == pytest.approx(31 * 0.7193, rel=1e-3)
    text = vidpipe("--aggregator", "gru", "--channels", "8", "--grid", "1×2×2", "--clips", "2").stdout
    assert text.startswith("gru over 2 clips, maps 1×2×2×8\n")


def test_a_preset_is_the_same_as_its_options_and_they_win_beside_it():
    preset, typed = counted("--preset", "faster32"), counted(*FASTER32.split())
    assert (preset.pop("preset"), typed.pop("preset")) == ("faster32", None)
    assert preset == typed
    assert [part["name"] for part in preset["parts"]] == ["expensive clips", "cheap clips", "aggregator"]
    changed = counted(
        "--preset", "faster32", "--pattern", "all-cheap", "--aggregator", "average", "--cheap", "r2d_14_w16"
    )
    assert [(part["network"], part["num_clips"]) for part in changed["parts"]] == [("r2d_14_w16", 8), ("average", 8)]
    assert (changed["num_frames"], changed["pattern"], changed["parts"][1]["per_video"]) == (32, "all-cheap", 0)


def test_one_backbone_sees_all_clips():
    cheap = counted("--cheap", "r2d_14_w16", "--clips", "4", "--size", "64")
    expensive = counted("--expensive", "r2d_14_w16", "--clips", "4", "--size", "64")
    assert (cheap["pattern"], expensive["pattern"]) == ("all-cheap", "all-expensive")
    assert cheap["per_video"] == expensive["per_video"] > 0


def test_conventions():
    mac, norms, flop = (counted("--preset", "faster16", "--convention", c) for c in ("mac", "mac+bn", "flop"))
    assert flop["per_video"] == pytest.approx(2 * mac["per_video"])
    assert mac["per_video"] < norms["per_video"] < 1.02 * mac["per_video"]
    assert (mac["unit"], flop["convention"]) == ("GMACs", "flop")
    assert "batch norm counted at 2 an element" in vidpipe("--backbone", "r2d_26", "--convention", "mac+bn").stdout


def test_the_text_adds_up():
    lines = vidpipe("--preset", "faster32").stdout.splitlines()
    assert lines[0] == "r2plus1d_50, r2d_26, fast-gru; 8 clips of 32 frames at 224×224, 1:1"
    assert lines[-4].split() == ["expensive", "clips", "r2plus1d_50", "4", "119.919", "479.675"]
    assert lines[-1].split() == ["sum", "8", "68.810", "550.481"]


@pytest.mark.parametrize(("number", "close"), [("2", "4 of 6"), ("4", "14 of 15"), ("5", "3 of 3"), ("6", "6 of 6")])
def test_a_table_of_the_paper_beside_ours(number: str, close: str):
    text = vidpipe("--paper-table", number).stdout
    assert text.startswith(f"FASTER, Table {number}: ")
    assert text.endswith(f"\n{close} figures within 0.5 % of the paper's.\n")
    document = json.loads(vidpipe("--paper-table", number, "--json").stdout)
    assert (document["table"], document["tolerance"]) == (number, 0.005)
    assert f"{sum(cell['agrees'] for cell in document['cells'])} of {len(document['cells'])}" == close
    for cell in document["cells"]:
        assert f"{cell['ours']:.2f}" in text
        assert cell["difference"] == pytest.approx(cell["ours"] / cell["paper"] - 1)
        assert cell["agrees"] is not bool(cell["remark"])


@pytest.mark.parity
def test_the_table_of_the_peers():
    text = vidpipe("--paper-table", "peers").stdout
    assert text.startswith("Peers: backbones of collaborative memory's table in model zoos, GFLOPs a clip ")
    assert text.endswith("\n26 of 26 figures within 0.5 % of the peer's.\n")
    (line,) = (line for line in text.splitlines() if "SlowFast-50 4×16" in line and "pytorchvideo" in line)
    assert line.split()[-4:] == ["36.69", "36.69", "+0.00", "%"]


def test_what_differs_says_why():
    line = next(line for line in vidpipe("--paper-table", "4").stdout.splitlines() if "+0.72 %" in line)
    assert line.startswith("1:15   8 frames × 32 clips   177.27  176.0")
    assert line.endswith("the paper rounds the cost of a clip, 5.54 to 5.5, before it multiplies by 32")


BY_ITSELF = "--aggregator fast-gru --channels 16 --grid 1x2x2"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("", "say what to count: --preset, --backbone, "),
        ("--aggregator gru", "say what to count: "),
        ("--backbone x", "there is no backbone 'x'; of "),
        ("--backbone r2d_26 --frames 0", "--frames must be from 1 to 4096; got 0"),
        ("--backbone r2d_26 --frames 4", "r2d_26 needs clips of a multiple of 8 frames; got 4."),
        ("--backbone r2d_26 --size 15", "--size must be from 16 to 8192; got 15"),
        ("--backbone r2d_26 --size 1000000", "--size must be from 16 to 8192; got 1000000"),
        ("--backbone r2d_26 --clips 0", "--clips must be from 1 to 4096; got 0"),
        (
            "--backbone r2d_26 --cheap r2d_26 --pattern 1:3",
            "leave out --cheap, --pattern: --backbone counts one network",
        ),
        ("--backbone r2d_26 --convention macs", "--convention must be one of mac, mac+bn, flop; got 'macs'"),
        ("--preset faster8", "--preset must be one of faster16, faster32; got 'faster8'"),
        ("--preset faster32 --frames 12", "r2d_26 needs clips of a multiple of 8 frames; got 12."),
        ("--preset faster32 --pattern 3", "--pattern must be E:C with whole numbers"),
        ("--preset faster32 --aggregator nope", "there is no aggregator 'nope'; known: average, "),
        ("--preset faster32 --channels 16", "leave out --preset: --channels and --grid count an aggregator by itself"),
        ("--preset faster32 --reduction 0", "--reduction must be at least 1; got 0"),
        ("--expensive r2plus1d_50 --cheap r2d_26", "--expensive and --cheap need --pattern"),
        (
            "--expensive r2plus1d_50 --pattern 1:3",
            "--pattern 1:3 makes clips cheap, and no backbone sees them; give --cheap",
        ),
        ("--aggregator gru --channels 16", "an aggregator by itself needs --grid too, as "),
        ("--grid 1x2x2", "an aggregator by itself needs --aggregator and --channels too, as "),
        ("--aggregator gru --channels 16 --grid 2x2", "--grid must be TxHxW with whole numbers, as 1x7x7; got '2x2'"),
        ("--aggregator gru --channels 16 --grid 0x2x2", "--grid must be from 1 to 512; got 0"),
        ("--aggregator gru --channels 0 --grid 1x2x2", "--channels must be from 1 to 65536; got 0"),
        (f"{BY_ITSELF} --reduction 3", "--reduction must divide the width of 16 channels; got 3"),
        (f"{BY_ITSELF} --frames 8", "leave out --frames: --channels and --grid count an aggregator by itself"),
        (f"{BY_ITSELF} --classes 0", "--classes must be from 1 to 1000000; got 0"),
        ("--paper-table 3", "--paper-table must be one of 2, 4, 5, 6, peers; got 3"),
        (f"--paper-table {'9' * 5000}", "--paper-table must be one of 2, 4, 5, 6, peers; got 999"),
        ("--paper-table 4 --size 256", "--paper-table stands alone, or with --json"),
        ("--paper-table 4 --convention flop", "--paper-table stands alone, or with --json"),
    ],
)
def test_what_cannot_be_counted_is_said_in_one_line(typed: str, answer: str):
    result = vidpipe(*typed.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {answer}")
    assert len(result.stderr.splitlines()) == 1
