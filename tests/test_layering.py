"""The house rules that a machine can check: arrows between the folders, one door a library, a quick --help."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANK = {"pipeline": 0, "stages": 1, "cli": 2}
DOORS = {
    "click": ("cli/",),
    "zarr": ("pipeline/store",),
    "h5py": ("pipeline/hdf5.py",),
    "dask": ("pipeline/execution",),
    "distributed": ("pipeline/execution.py",),
    "av": ("pipeline/video",),
    "sklearn": ("pipeline/metrics.py", "pipeline/linear_probe.py"),
    "matplotlib": ("pipeline/plotting",),
    "scipy": ("pipeline/confidence.py",),
    "pyarrow": ("pipeline/manifest_table.py",),
}
MODULES = sorted(path for folder in RANK for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> list[str]:
    """Return what a module imports, as absolute dotted names."""
    package = ("vidpipe", *path.relative_to(ROOT).with_suffix("").parts)
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level]) + "." if node.level else ""
            names.append(above + (node.module or ""))
    return names


def test_there_are_modules_to_check():
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_and_doors(path: Path):
    own = path.relative_to(ROOT).as_posix()
    rank = RANK[own.split("/")[0]]
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "vidpipe" and rest and rest[0] in RANK:
            assert RANK[rest[0]] <= rank, f"{own} imports upward: {name}"
        if first in DOORS:
            assert own.startswith(DOORS[first]), f"{own} imports {first}, whose door is {DOORS[first][0]}"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['vidpipe', '--help']\n"
        "from vidpipe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'zarr', 'h5py', 'dask', 'av', 'sklearn', 'matplotlib', 'pyarrow'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train-aggregator" in done.stdout
