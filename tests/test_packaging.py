"""What a user installs: everything that is in the checkout, found by itself, with bounds on what it is built on."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import setuptools
from click.testing import CliRunner, Result

from vidpipe.cli.main import main
from vidpipe.pipeline.manifests.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("pipeline", "stages", "cli", "data_manifests")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(need for extra in PROJECT["optional-dependencies"].values() for need in extra),
]


def load(path: Path) -> ModuleType:
    """Run a module that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


try_wheel = load(ROOT / ".ci" / "try_wheel.py")


def test_every_folder_with_modules_is_a_package_that_installs(monkeypatch: pytest.MonkeyPatch):
    told: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: told.update(keywords))
    load(ROOT / "setup.py")
    modules = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100
    assert set(told["packages"]) == {"vidpipe", *(".".join(("vidpipe", *path.parent.parts)) for path in modules)}
    assert told["package_dir"] == {f"vidpipe.{folder}": folder for folder in FOLDERS}


@pytest.mark.parametrize("need", [need for need in REQUIREMENTS if not need.startswith("vidpipe[")])
def test_every_requirement_is_bound_on_both_sides(need: str):
    assert re.fullmatch(r"[\w-]+>=[\d.]+,<\d+", need)


def test_a_checkout_is_whole_where_the_installed_vidpipe_is_not_seen():
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder).lower()]\n"
        "import vidpipe, vidpipe.cli.main\n"
        "from vidpipe.pipeline.manifests.example import example_text\n"
        "print(vidpipe.cli.main.__file__, example_text().split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(ROOT / "cli" / "main.py"), "path,label,split,video_id,start,end"], done.stderr


def test_python_m_vidpipe_is_the_command_under_its_own_name():
    command = [sys.executable, "-m", "vidpipe", "manifest", "exampel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: python -m vidpipe manifest ")


def vidpipe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["manifest", *map(str, arguments)])


def test_the_example_is_printed_and_written_as_it_lies_in_the_checkout(tmp_path: Path):
    own = (ROOT / "data_manifests" / "example.csv").read_text(encoding="utf-8")
    assert vidpipe("example").stdout == own
    output = tmp_path / "new" / "m.csv"
    assert vidpipe("example", "-o", output).exit_code == 0
    assert output.read_text(encoding="utf-8") == own
    assert len(read_manifest(output).videos) == 6
    refused = vidpipe("example", "-o", output)
    assert refused.exit_code == 2
    assert "is there already; --force replaces it" in refused.stderr
    assert vidpipe("example", "-o", output, "--force").exit_code == 0


def test_the_example_is_csv_alone(tmp_path: Path):
    refused = vidpipe("example", "-o", tmp_path / "m.parquet")
    assert refused.exit_code == 2
    assert "--out must end in .csv; got" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_the_schema_is_printed_whole():
    own = (ROOT / "data_manifests" / "README.md").read_text(encoding="utf-8")
    assert vidpipe("schema").stdout == own


# What CI does with the wheel: it must be able to fail.


def made_wheel(folder: Path, *names: str) -> Path:
    """Write an archive with empty files of these names."""
    path = folder / "vidpipe.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tiny checkout, with one module in a package."""
    for name in ("vidpipe/__init__.py", "pipeline/videos/reader.py", "pipeline/videos/__init__.py"):
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / name).touch()
    return tmp_path / "checkout"


HELD = (
    "vidpipe/__init__.py",
    "vidpipe/pipeline/videos/reader.py",
    "vidpipe/pipeline/videos/__init__.py",
    "vidpipe/py.typed",
    "vidpipe/__main__.py",
    "vidpipe/data_manifests/README.md",
    "vidpipe/data_manifests/example.csv",
    "vidpipe/data_manifests/published_weights.csv",
    "vidpipe/data_manifests/class_lists/kinetics400.txt",
    "vidpipe-1.dist-info/licenses/LICENSE",
)


def test_a_wheel_with_all_of_the_checkout_is_fine(checkout: Path, tmp_path: Path):
    try_wheel.check_wheel(made_wheel(tmp_path, *HELD), checkout)


@pytest.mark.parametrize("name", HELD)
def test_a_wheel_that_lacks_a_file_is_told(name: str, checkout: Path, tmp_path: Path):
    with pytest.raises(try_wheel.BrokenError, match="the wheel lacks"):
        try_wheel.check_wheel(made_wheel(tmp_path, *(held for held in HELD if held != name)), checkout)


@pytest.mark.parametrize(
    "name", ["tests/test_x.py", "vidpipe/tests/test_x.py", "vidpipe/pipeline/old.py", "pipeline/a.py"]
)
def test_a_wheel_that_holds_too_much_is_told(name: str, checkout: Path, tmp_path: Path):
    with pytest.raises(try_wheel.BrokenError, match=f"the wheel holds .*{re.escape(name)}"):
        try_wheel.check_wheel(made_wheel(tmp_path, *HELD, name), checkout)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(4)",
        "raise ValueError",
        "import traceback; exec('try: 1/0\\nexcept ZeroDivisionError: traceback.print_exc()')",
    ],
)
def test_a_command_that_fails_or_shows_a_traceback_is_broken(code: str, tmp_path: Path):
    with pytest.raises(try_wheel.BrokenError, match="ended with"):
        try_wheel.run(sys.executable, "-c", code, cwd=tmp_path)


def test_a_number_of_frames_that_differs_is_told():
    video = {"path": "x/b_frames.mp4", "info": {"num_frames": 50}}
    try_wheel.check_clips([video, {"path": "x/no_golden.mp4", "info": None}])
    for info in (None, {"num_frames": 49}):
        with pytest.raises(try_wheel.BrokenError, match="b_frames.mp4 has 50 frames"):
            try_wheel.check_clips([video | {"info": info}])


def test_this_python_is_among_those_that_are_tried():
    found = try_wheel.pythons()
    assert found[sys.version_info[:2]] == Path(sys.executable)
    assert min(found) >= (3, 11)
