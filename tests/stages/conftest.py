"""Runs save their pictures as one pixel, but where a test looks at them; `tests/evaluation` draws all kinds."""

from collections.abc import Iterator

import pytest
from sketched_pictures import rendered, sketched


@pytest.fixture(autouse=True, scope="package")
def sketched_pictures() -> Iterator[None]:
    """Spare the rendering, which takes most of the time of a short run."""
    with sketched():
        yield


@pytest.fixture
def rendered_pictures() -> Iterator[None]:
    """Let a test's pictures be rendered."""
    with rendered():
        yield
