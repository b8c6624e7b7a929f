"""Build vidpipe as a user gets it, and go the smallest path with it in an empty environment of every Python there is.

Every Python from 3.11 that is on the PATH, or that pyenv has, gets an environment without development tools and without
constraints.txt: its packages are the newest that the index gives and pyproject.toml admits. All but torch: on Linux the
newest torch brings gigabytes of CUDA libraries, which say nothing about vidpipe. So torch alone is held to the version
of constraints.txt, whose build for CPUs the index, a local folder, or PIP_ARGS (as for make) may have. Where there is
only a GPU build, or none, the environment goes without torch, and as much of the path as needs none: this is said, and
does not count as a failure. WHEEL_TORCH=any takes GPU builds too. The Python that runs this takes them in any case, as
make has fetched the same for its tests.

    python3 .ci/try_wheel.py            # or: make wheel
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
FOLDERS = ("pipeline", "stages", "cli", "data_manifests")  # of the checkout, that install below vidpipe
DATA = ("README.md", "example.csv", "published_weights.csv", "class_lists/kinetics400.txt")
NEEDED = ("py.typed", "__main__.py", *(f"data_manifests/{name}" for name in DATA))
_DATA_FILE = re.compile(r"vidpipe/data_manifests/(class_lists/)?[^/]+\.(csv|txt|md)")
PIP_ARGS = shlex.split(os.environ.get("PIP_ARGS", ""))
# Nothing of the caller's environment may help: no module path, no virtual environment.
CLEAN = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
CLEAN |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

# What needs no torch, and what does. Tiny: the point is that nothing breaks, not that anything is learned.
WITHOUT_TORCH = (
    "vidpipe --version",
    "vidpipe render rendered --events 2 --videos 24 --size 32 --workers 1",
    "vidpipe manifest from-folders videos -o m.csv --test-fraction 0.34",
    "vidpipe manifest check m.csv",
    "vidpipe manifest check clips.csv --json",
    "vidpipe manifest example -o example.csv",
)
TINY = "--manifest m.csv --size 32 --epochs 1 --precision float32"
WITH_TORCH = (
    f"vidpipe train-backbone {TINY} --backbone r2d_14_w8 --out cheap",
    f"vidpipe train-backbone {TINY} --backbone r2plus1d_14_w16 --out expensive",
    "vidpipe extract --manifest m.csv --store s.zarr --clips 4 --pattern 1:3 --precision float32"
    " --cheap cheap --expensive expensive",
    "vidpipe train-aggregator --store s.zarr --aggregator fast-gru --pattern 1:3 --epochs 1 --out faster",
    "vidpipe evaluate --store s.zarr --run faster --out results",
)


class BrokenError(Exception):
    """What vidpipe, or its wheel, does not do as it should."""


def run(*command: str | Path, cwd: Path, fine: tuple[int, ...] = (0,)) -> str:
    """Run a command and return what it printed.

    Raises:
        BrokenError: if it ends in another way than ``fine`` ones, or shows a traceback.
    """
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False)
    if done.returncode not in fine or "Traceback (most recent call last)" in done.stderr:
        said = f"{done.stdout[-4000:]}{done.stderr[-8000:]}".strip()
        raise BrokenError(f"{shlex.join(map(str, command))}\nended with {done.returncode}:\n{said}")
    return done.stdout


# Which Pythons there are.


def pythons() -> dict[tuple[int, int], Path]:
    """Return one Python of each version from 3.11: this one, then those on the PATH, then those that pyenv has."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # On the PATH, pyenv has shims, which run only the versions that are switched on.
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders = [folder for folder in folders if folder != pyenv / "shims"]
    folders += sorted(pyenv.glob("versions/*/bin"), reverse=True)
    found: dict[tuple[int, int], Path] = {sys.version_info[:2]: Path(sys.executable)}
    for path in (path for folder in folders for path in sorted(folder.glob("python3.*"))):
        name = re.fullmatch(r"python3\.(\d+)", path.name)
        version = (3, int(name[1])) if name else (0, 0)  # another program, such as python3.11-config
        if version >= OLDEST and version not in found and version_of(path) == version:
            found[version] = path
    return dict(sorted(found.items()))


def version_of(python: Path) -> tuple[int, int] | None:
    """Return the version of a Python; None if it does not run, or cannot make environments."""
    code = "import sys, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], env=CLEAN, capture_output=True, text=True, check=False, timeout=60)
        major, minor = done.stdout.split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return int(major), int(minor)


# Building.


def build(place: Path) -> tuple[Path, Path]:
    """Return (the wheel of the sdist, which holds what it should; the Python whose pip and setuptools made it)."""
    tools, copy, dist = place / "tools", place / "copy", place / "dist"
    run(sys.executable, "-m", "venv", tools, cwd=place)
    python = tools / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *PIP_ARGS, "--upgrade", "pip", "setuptools>=77", cwd=place)
    # In a copy of what git knows: an old build/ would put files into the wheel that are there no more.
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    code = "import setuptools.build_meta as b; b.build_sdist('../dist'); b.build_wheel('../dist')"
    dist.mkdir()
    run(python, "-c", code, cwd=copy)
    (sdist,), (direct,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    # With what pyproject.toml says that building needs, and nothing else.
    run(python, "-m", "pip", "wheel", "--quiet", *PIP_ARGS, "--no-deps", "-w", place / "wheel", sdist, cwd=place)
    (wheel,) = (place / "wheel").glob("*.whl")
    check_wheel(wheel, copy)
    if contents(wheel) != contents(direct):
        raise BrokenError("the wheel made from the sdist differs from the one made from the checkout")
    with tarfile.open(sdist) as archive:
        if odd := [name for name in archive.getnames() if re.match(r"[^/]+/(tests|benchmarks|demo|runs)/", name)]:
            raise BrokenError(f"the sdist holds {odd}")
    return wheel, python


def contents(wheel: Path) -> dict[str, int]:
    """Return the name and checksum of each file of a wheel; not of the list of them, whose order is free."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist() if not info.filename.endswith("/RECORD")}


def check_wheel(wheel: Path, checkout: Path) -> None:
    """Compare the files of a wheel with those of the checkout it was made of.

    Raises:
        BrokenError: if one is missing or too many.
    """
    within = {str(path.relative_to(checkout)) for path in (checkout / "vidpipe").rglob("*.py")}
    for folder in FOLDERS:
        within |= {f"vidpipe/{path.relative_to(checkout)}" for path in (checkout / folder).rglob("*.py")}
    names = {name for name in contents(wheel) if ".dist-info/" not in name}
    wanted = within | {f"vidpipe/{name}" for name in NEEDED}
    if missing := sorted(wanted - names):
        raise BrokenError(f"the wheel lacks {missing}")
    if odd := sorted(n for n in names - wanted if not _DATA_FILE.fullmatch(n)):
        raise BrokenError(f"the wheel holds {odd}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in contents(wheel)):
        raise BrokenError("the wheel lacks the licence")


# Installing.


def torch_constraint() -> str:
    """Return the line of constraints.txt that holds torch."""
    return next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))


def may_have_torch(pip: list[str | Path], place: Path) -> bool:
    """Return whether the torch that pip would take is to be had for this Python, and is no GPU build."""
    ask = [*pip, "install", *PIP_ARGS, "--quiet", "--dry-run", "--no-deps", "--report", "-", torch_constraint()]
    try:
        found: list[dict[str, Any]] = json.loads(run(*ask, cwd=place))["install"]
    except BrokenError as error:
        if "No matching distribution" not in str(error):
            raise
        return False
    needs = found[0]["metadata"].get("requires_dist", [])
    gpu = sys.platform == "linux" and any(need.startswith(("nvidia-", "cuda-")) for need in needs)
    return not gpu or os.environ.get("WHEEL_TORCH") == "any"


def install(python: Path, wheel: Path, tools: Path, place: Path) -> tuple[Path, bool]:
    """Make an empty environment in ``place`` with the wheel in it; return its programs, and whether it has torch."""
    run(python, "-m", "venv", "--without-pip", place / "env", cwd=place)
    programs = place / "env" / "bin"
    # Not compiled beforehand: most modules of torch are never loaded.
    pip: list[str | Path] = [tools, "-m", "pip", "--python", programs / "python"]
    add = [*pip, "install", *PIP_ARGS, "--quiet", "--no-compile"]
    has_torch = python == Path(sys.executable) or may_have_torch(pip, place)
    if has_torch:
        (place / "torch.txt").write_text(torch_constraint())
        run(*add, "--constraint", place / "torch.txt", wheel, cwd=place)
        run(*pip, "check", cwd=place)
    else:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            needs = re.findall(r"^Requires-Dist: ([^;\n]+)$", archive.read(name).decode(), re.MULTILINE)
        run(*add, *(need for need in needs if not need.startswith("torch<")), cwd=place)
        run(*add, "--no-deps", wheel, cwd=place)
    return programs, has_torch


# The path.


def walk(programs: Path, place: Path, *, has_torch: bool) -> None:
    """Go the smallest path in ``place``.

    Raises:
        BrokenError: if a command fails, shows a traceback, or leaves something else than it should.
    """
    clips = sorted((ROOT / "tests" / "goldens" / "clips").iterdir())
    rows = [f"{clip},{clip.stem},train" for clip in clips]
    (place / "clips.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    for line in (*WITHOUT_TORCH, *(WITH_TORCH if has_torch else ())):
        fine = (0, 3) if "clips.csv" in line else (0,)  # some of the clips are there to be refused
        said = run(programs / "vidpipe", *shlex.split(line)[1:], cwd=place, fine=fine)
        if " render " in line:
            into_folders(place)
        if "clips.csv" in line:
            check_clips(json.loads(said)["videos"])
    usage = run(programs / "python", "-m", "vidpipe", "--help", cwd=place)
    if not usage.startswith("Usage: python -m vidpipe "):
        raise BrokenError(f"python -m vidpipe gives itself another name: {usage.splitlines()[0]}")
    if has_torch:
        with next((place / "results").rglob("predictions.csv")).open(newline="") as file:
            if not list(csv.DictReader(file)):
                raise BrokenError("predictions.csv has no rows")


def into_folders(place: Path) -> None:
    """Lay the rendered videos out as a user has them: in a folder a class."""
    with (place / "rendered" / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            folder = place / "videos" / row["label"]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / "rendered" / row["path"], folder)


def check_clips(videos: list[dict[str, Any]]) -> None:
    """Compare what `manifest check` counts in awkward files with what ffprobe counted, whichever PyAV reads them.

    Raises:
        BrokenError: if the number of frames of one differs.
    """
    goldens = json.loads((ROOT / "tests" / "goldens" / "clips.json").read_text())
    for video in videos:
        golden = goldens.get(Path(video["path"]).name)  # without one: what is refused
        if golden and (not video["info"] or video["info"]["num_frames"] != golden["frames"]):
            raise BrokenError(f"{video['path']} has {golden['frames']} frames; manifest check says {video}")


# All of it.


def packages(programs: Path, place: Path) -> str:
    """Return the versions on which most depends."""
    names = ["av", "numpy", "zarr", "torch"]
    code = (
        "from importlib.metadata import distributions\n"
        f"print(*(d.name + ' ' + d.version for d in distributions() if d.name in {names}), sep=', ')"
    )
    return run(programs / "python", "-c", code, cwd=place).strip()


def remove(tools: Path, place: Path) -> None:
    """Uninstall vidpipe.

    Raises:
        BrokenError: if something of it stays.
    """
    run(tools, "-m", "pip", "--python", place / "env" / "bin" / "python", "uninstall", "-y", "-q", "vidpipe", cwd=place)
    if left := [path for path in (place / "env").rglob("*vidpipe*") if "__pycache__" not in path.parts]:
        raise BrokenError(f"uninstalled, it leaves {left}")


def attempt(python: Path, wheel: Path, tools: Path, place: Path) -> str:
    """Install the wheel for one Python, use it, and remove it; return what was done and how long it took.

    Raises:
        BrokenError: if any of it fails.
    """
    place.mkdir()
    began = time.monotonic()
    programs, has_torch = install(python, wheel, tools, place)
    installed = time.monotonic()
    walk(programs, place, has_torch=has_torch)
    walked = time.monotonic()
    found = packages(programs, place)
    remove(tools, place)
    path = "the whole path" if has_torch else "WITHOUT torch (no CPU build of it here), up to `manifest check`"
    return f"{path} with {found}; installing {installed - began:.0f} s, path {walked - installed:.0f} s"


def main() -> int:
    """Try every Python, all at once; return 1 if the wheel or a path is broken."""
    began, failures = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="vidpipe-wheel-") as folder, ThreadPoolExecutor() as pool:
        place = Path(folder).resolve()
        try:
            wheel, tools = build(place)
            print(f"{wheel.name}: built from the sdist in {time.monotonic() - began:.0f} s", flush=True)
            # Installing mostly waits for the index, so that several at once take little longer than one.
            tries = {
                version: pool.submit(attempt, python, wheel, tools, place / "{}.{}".format(*version))
                for version, python in pythons().items()
            }
        except BrokenError as error:
            print(f"FAILED: {error}", flush=True)
            return 1
        for (major, minor), done in tries.items():
            try:
                print(f"Python {major}.{minor}: {done.result()}", flush=True)
            except BrokenError as error:
                failures += 1
                print(f"Python {major}.{minor}: FAILED: {error}", flush=True)
    print(f"All of it took {time.monotonic() - began:.0f} s.")
    print(f"wheel: {len(tries) - failures} passed, {failures} failed", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
