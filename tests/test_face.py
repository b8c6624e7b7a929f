"""`import vidpipe`: a short list of names, quick to import, each of which does what the command of its name does."""

import pickle
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest
from made_up_stores import MadeUp, make_store

import vidpipe

FACE = (
    "AGGREGATORS",
    "AggregatorSpec",
    "BACKBONES",
    "ClipSampling",
    "FeatureStore",
    "Manifest",
    "Pattern",
    "RunDirectory",
    "VidpipeError",
    "__version__",
    "build_aggregator",
    "build_backbone",
    "check_manifest",
    "evaluate",
    "extract",
    "finetune",
    "load_aggregator",
    "load_backbone",
    "load_weights",
    "manifest_from_folders",
    "open_store",
    "pooled_features",
    "probe",
    "read_manifest",
    "render",
    "stored_maps",
    "sweep",
    "train_aggregator",
    "train_backbone",
    "write_manifest",
)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


def test_the_face_is_this_list():
    assert sorted(vidpipe.__all__) == sorted(FACE)


def test_values_without_a_keyword_are_refused_with_what_to_write():
    with pytest.raises(vidpipe.VidpipeError, match=r"check_manifest takes .* as check_manifest\(manifest='m.csv', …\)"):
        vidpipe.check_manifest("m.csv")  # pyright: ignore[reportCallIssue]
    with pytest.raises(vidpipe.VidpipeError, match=r"read from text by Pattern\.parse\('1:3'\)"):
        vidpipe.Pattern("1:3")  # pyright: ignore[reportCallIssue,reportArgumentType]
    assert pickle.loads(pickle.dumps(vidpipe.Pattern(1, 3))) == vidpipe.Pattern.parse("1:3")


@pytest.mark.parametrize("name", FACE)
def test_every_name_is_there_and_on_its_page(name: str):
    value = getattr(vidpipe, name)
    assert name in dir(vidpipe)
    assert name.isupper() or name == "__version__" or value.__name__ == name
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_other_names_are_missed_as_usual():
    with pytest.raises(AttributeError, match="has no attribute 'extrakt'"):
        _ = vidpipe.extrakt


def test_the_version_and_the_mark_of_types():
    assert vidpipe.__version__ == version("vidpipe")
    assert files("vidpipe").joinpath("py.typed").is_file()


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, vidpipe\n"
        "dir(vidpipe), vidpipe.__version__, vidpipe.extract, vidpipe.VidpipeError\n"
        "heavy = {'torch', 'numpy', 'zarr', 'h5py', 'dask', 'av', 'sklearn', 'matplotlib', 'pyarrow', 'click'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_from_text_alone(tmp_path: Path):
    store = str(make_store(tmp_path / "s.zarr", MadeUp(num_training=12, num_test=4)))
    trained = vidpipe.train_aggregator(
        store=store, out=str(tmp_path / "run"), aggregator="gru", pattern="1:3", epochs=1, device="cpu"
    )
    assert (trained.pattern, trained.epochs) == ("1:3", 1)
    optimisation = vidpipe.RunDirectory.open(trained.out).settings["optimisation"]
    assert (optimisation["optimizer"], optimisation["batch_size"]) == ("adamw", 16)  # the stage's own defaults
    found = vidpipe.evaluate(store=store, runs=[str(trained.out)], out=str(tmp_path / "results"), device="cpu")
    assert [run["metrics"]["num_scored"] for run in found["runs"]] == [4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"store": "s", "out": "o", "epoch": 3}, "no field 'epoch'; did you mean epochs"),
        ({"store": "s"}, "TrainAggregatorSettings needs out"),
        ({"store": "s", "out": "o", "pattern": "3"}, "pattern must be E:C"),
        ({"store": "s", "out": "o", "epochs": 0}, "epochs must be at least 1; got 0"),
        ({"store": "s", "out": "o", "epochs": "three"}, "epochs: invalid literal for int"),
        ({"store": "s", "out": "o", "epochs": [3]}, r"epochs must be of type int; got \[3\]"),
        ({"store": 3, "out": "o"}, "store must be of type Path; got 3"),
        ({"store": "s\0", "out": "o"}, "store must not hold a NUL character"),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_python(given: dict[str, object], message: str):
    with pytest.raises(vidpipe.VidpipeError, match=message):
        vidpipe.train_aggregator(**given)


def test_other_commands_refuse_in_the_same_words():
    with pytest.raises(vidpipe.VidpipeError, match="SweepSettings needs out"):
        vidpipe.sweep(store="s")
    with pytest.raises(vidpipe.VidpipeError, match="patterns must be E:C"):
        vidpipe.sweep(store="s", out="o", patterns=["often"])
    with pytest.raises(vidpipe.VidpipeError, match="NUL character"):
        vidpipe.read_manifest("m\0.csv")
    with pytest.raises(vidpipe.VidpipeError, match="cheap: must be a weights file, a run of vidpipe train-backbone"):
        vidpipe.extract(manifest="m.csv", store="s.zarr", cheap="r2d_26")
    with pytest.raises(vidpipe.VidpipeError, match="'tough' is neither easy, medium or hard"):
        vidpipe.render(out="o", difficulty="tough")


def test_single_values_and_words_are_taken_for_what_they_mean(tmp_path: Path):
    made = vidpipe.render(
        out=str(tmp_path / "set"), videos=2, difficulty="hard", size=32, frames=47, workers=1, test_fraction="0.5"
    )
    assert made.rendered == 2
    assert '"difficulty": 1.0' in (tmp_path / "set" / "design.json").read_text()


def test_an_error_shows_no_marks_in_any_form():
    with pytest.raises(vidpipe.VidpipeError) as caught:
        vidpipe.Pattern.parse("3")
    assert repr(caught.value).startswith('SettingsError("pattern must be E:C')
    assert "\0" not in f"{caught.value} {caught.value!r}"


def test_a_sweep_says_what_it_sets_itself():
    with pytest.raises(vidpipe.VidpipeError, match="a sweep sets seed in each run; give num_seeds"):
        vidpipe.sweep(store="s", out="o", seed=8)
