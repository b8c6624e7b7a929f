"""Fixtures that every test file shares: the real media, and small videos made on the spot."""

import os
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import hypothesis
import numpy as np
import pytest
import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start; the last bits of float32 depend on it

torch.set_num_threads(1)  # for fixtures that are made before any test begins; see below
hypothesis.settings.register_profile("vidpipe", deadline=None)  # how long an example takes depends on what else runs
hypothesis.settings.load_profile("vidpipe")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Let every test begin with one thread of torch, whatever the one before it has set."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a CUDA device or another library where there is none: a skip always means missing media."""
    left_out = [item for item in items if not can_run(item)]
    if left_out:
        gone = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in gone]
        config.hook.pytest_deselected(items=left_out)


def can_run(item: pytest.Item) -> bool:
    """Return whether the device and the packages that a test's markers name are here: ``parity("timm", …)``."""
    needed = {name for own in item.iter_markers("parity") for name in own.args}
    is_device_here = item.get_closest_marker("cuda") is None or torch.cuda.is_available()
    return is_device_here and all(find_spec(name) for name in needed)


@pytest.fixture(autouse=True, scope="session")
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests, and the processes that they start, out of the user's folder for caches."""
    # But let matplotlib find its list of fonts there: it takes seconds to make.
    before = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    os.environ.setdefault("MPLCONFIGDIR", str(before / "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


Frame = Callable[[int], np.ndarray]


@pytest.fixture(scope="session")
def media() -> Path:
    """Return the directory of real media; skip where there is none."""
    directory = os.environ.get("VIDPIPE_TEST_MEDIA")
    if not directory:
        pytest.skip("VIDPIPE_TEST_MEDIA is not set: no real media to test on")
    return Path(directory)


def moving_square(size: tuple[int, int], seed: int) -> Frame:
    """Return frames (H, W, 3) of a bright square that crosses a textured background; ``size`` is (width, height)."""
    width, height = size
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 96, (height, width, 3), dtype=np.uint8)
    colour = rng.integers(160, 255, 3, dtype=np.uint8)
    side = max(2, min(size) // 4)

    def frame(index: int) -> np.ndarray:
        image = background.copy()
        x = (3 * index + 5 * seed) % max(1, width - side)
        y = (2 * index) % max(1, height - side)
        image[y : y + side, x : x + side] = colour
        return image

    return frame


def write_video(
    path: Path,
    *,
    num_frames: int = 32,
    fps: int | Fraction = 30,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    seed: int = 0,
    frame: Frame | None = None,
) -> Path:
    """Write a small video with PyAV and return its path; ``frame(i)`` gives (H, W, 3) uint8 content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = frame or moving_square(size, seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18"}
        for index in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(index), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """Return `write_video`, so that test files need no import of this one."""
    return write_video


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 12 videos, half of them bright and half dark, and a manifest."""
    folder = tmp_path_factory.mktemp("world")
    lines = ["path,label,split"]
    for index in range(12):
        level = 60 if index % 2 else 190
        noise = np.random.default_rng(index)

        def frame(_: int, level: int = level, noise: np.random.Generator = noise) -> np.ndarray:
            return noise.integers(level - 40, level + 40, (40, 48, 3), dtype=np.uint8)

        write_video(folder / f"v{index}.mp4", num_frames=12, size=(48, 40), frame=frame)
        lines.append(f"v{index}.mp4,{'dark' if index % 2 else 'bright'},{'val' if index >= 8 else 'train'}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder
