"""The software that decodes videos, by version and by content."""

import hashlib
from functools import lru_cache
from pathlib import Path

import av


def decoder_versions() -> tuple[str, ...]:
    """Return what decides the pixels of a decoded frame: the bindings, and each library of FFmpeg behind them."""
    libraries = (f"{name} {'.'.join(map(str, version))}" for name, version in sorted(av.library_versions.items()))
    return f"av {av.__version__}", *libraries


@lru_cache(maxsize=1)
def decoding_digest() -> str:
    """Return a digest of this package's own code: whoever changes how a picture is made need not think of a version."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
