"""How backbones run over clips: the settings of an engine."""

from ..settings import check_fields, setting, settings

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MOST_CLIPS = 1024  # a pass always has its full size, filled up with blanks: a huge one would be a huge waste


@settings
class EngineSettings:
    """How to run a backbone. Features are stored as float16 and scores as float32 in any precision.

    The number of threads holds for the whole process. It is part of the provenance, so set it where several processes
    must agree.
    """

    device: str = setting(default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1.")
    precision: str = setting(
        default="auto", help="Of the backbones; auto: the fastest that the machine has.", choices=PRECISIONS
    )
    batch: int = setting(
        default=0,
        help="Clips a call of a backbone; 0: what suits the device.",
        at_least=0,
        at_most=MOST_CLIPS,
        unit="clips",
        advice="0 chooses by the device",
    )
    threads: int | None = setting(
        default=None, help="Of the backbones, on a CPU, in each worker.", at_least=1, unset="cores / workers"
    )

    def __post_init__(self) -> None:
        check_fields(self)
