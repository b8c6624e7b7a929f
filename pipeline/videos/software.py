"""The software that decodes videos, by version."""

import av


def decoder_versions() -> tuple[str, ...]:
    """Return what decides the pixels of a decoded frame: the bindings, and each library of FFmpeg behind them."""
    libraries = (f"{name} {'.'.join(map(str, version))}" for name, version in sorted(av.library_versions.items()))
    return f"av {av.__version__}", *libraries
