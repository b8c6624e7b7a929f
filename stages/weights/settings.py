"""The settings of listing, fetching and converting published weights."""

from pathlib import Path

from ...pipeline.settings import check_fields, setting, settings


@settings
class ListSettings:
    """Which published weights to list."""

    max_gmacs: float | None = setting(default=None, help="At most so many GMACs a clip.", above=0, unset="any")
    min_accuracy: float | None = setting(
        default=None, help="At least this published accuracy, percent.", at_least=0, at_most=100, unset="any"
    )
    licence: str = setting(default="", help="Those whose licence has this in its name.")
    source: str = setting(default="", help="Those of this source, as pytorchvideo.")
    backbone: str = setting(default="", help="Those whose network has this in its name.")

    def __post_init__(self) -> None:
        check_fields(self)


@settings
class FetchSettings:
    """Which published weights to fetch."""

    names: tuple[str, ...] = setting(help="Names in the registry.")
    timeout: float = setting(default=30.0, help="Give up after so many seconds without a byte.", above=0)

    def __post_init__(self) -> None:
        check_fields(self)


@settings
class InspectSettings:
    """Weights to look into."""

    file: Path = setting(help="Weights, of vidpipe's or of another program.")
    read_as: str = setting(default="", help="The network that they hold.", unset="as their tensors tell")

    def __post_init__(self) -> None:
        check_fields(self)


@settings
class ConvertSettings:
    """Weights of another program, and the file of vidpipe's to make of them."""

    file: Path = setting(help="Weights of another program.")
    out: Path = setting(help="The .safetensors file to write.")
    read_as: str = setting(default="", help="The network that it holds.", unset="as its tensors tell")
    class_list: str = setting(
        default="", help="A class list by name, or a text file with a class a line.", unset="the list of that length"
    )
    recipe: str = setting(default="", help="How pixels are prepared.", unset="as its source does")
    pool_time: int | None = setting(
        default=None,
        help="Average the maps of every K successive frames, of image networks.",
        at_least=1,
        unit="frames",
        metavar="K",
        unset="every frame's map",
    )

    def __post_init__(self) -> None:
        check_fields(self)
