"""Refusals as the command line words them: with options in the place of the names of settings."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.errors import VidpipeError


@contextmanager
def assert_refused(kind: type[VidpipeError], *, match: str) -> Iterator[pytest.ExceptionInfo[VidpipeError]]:
    """Expect an error of vidpipe whose message, on the command line, has a part that ``match`` finds."""
    with pytest.raises(kind) as caught:
        yield caught
    said = caught.value.text(option_name)
    assert re.search(match, said), f"{match!r} does not match {said!r}"
