"""Models of Hugging Face's hub on this machine: in the cache of its programs, or brought there by its own library.

A model that is whole in the cache is used as it is, without a look at the network: the folder alone decides.
"""

from collections.abc import Sequence
from pathlib import Path

from ..backbones.transformers_folders import cached_snapshot, hub_cache
from ..errors import OutOfSpaceError, WeightsError
from ..files import disk_full_explained
from .transformers_models import WEIGHTS, is_whole

TIMEOUT = 30.0  # seconds without an answer
_FILES = ("config.json", "*preprocessor_config.json", "model*.safetensors", f"{WEIGHTS}.index.json")
_IMAGE_FILES = (WEIGHTS, "pytorch_model.bin")  # by which names timm looks for weights, the likeliest first


def model_folder(repository: str, *, timeout: float = TIMEOUT) -> Path:
    """Return the folder of a model of transformers, from Hugging Face's cache if it is whole there, else downloaded.

    Files that came whole are kept, whatever happens to the others.

    Args:
        repository: ORG/NAME.
        timeout: seconds without an answer after which to give up.

    Raises:
        WeightsError: if it cannot be had; the message is the reason alone.
    """
    found = cached_snapshot(repository, holding="config.json")
    if found is not None and is_whole(found):
        return found
    found = _downloaded(repository, _FILES, timeout)
    if not is_whole(found):
        raise WeightsError(f"it holds no {WEIGHTS} with its config.json")
    return found


def image_file(repository: str, *, name: str | None = None, timeout: float = TIMEOUT) -> Path:
    """Return the file with the weights of a network of timm, from Hugging Face's cache if it is there, else downloaded.

    Args:
        repository: ORG/NAME.
        name: of the file; None for one of those that timm looks for.
        timeout: seconds without an answer after which to give up.

    Raises:
        WeightsError: if it cannot be had; the message is the reason alone.
    """
    names = (name,) if name else _IMAGE_FILES
    for own in names:
        found = cached_snapshot(repository, holding=own)
        if found is not None:
            return found / own
    for own in names:
        found = _downloaded(repository, (own,), timeout)
        if (found / own).is_file():
            return found / own
    raise WeightsError(f"it holds no {' or '.join(names)}")


def _downloaded(repository: str, patterns: Sequence[str], timeout: float) -> Path:
    """Return the folder of ORG/NAME with the files of these names, as far as it has them."""
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
        from huggingface_hub.errors import HfHubHTTPError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WeightsError("huggingface_hub is not installed here: pip install 'vidpipe[transformers]'") from error
    cache = hub_cache()
    # A refusal by the hub is a kind of its network client's error, which is another class in each version.
    refusals = tuple(own for own in HfHubHTTPError.__mro__ if own not in (Exception, BaseException, object))
    try:
        with disk_full_explained(cache):
            return Path(
                snapshot_download(repository, allow_patterns=list(patterns), cache_dir=str(cache), etag_timeout=timeout)
            )
    except OutOfSpaceError:
        raise
    except (OSError, ValueError, *refusals) as error:
        raise WeightsError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return the first line of what the library says, or of what it says it because of."""
    lines = str(error.__cause__ or error).splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
