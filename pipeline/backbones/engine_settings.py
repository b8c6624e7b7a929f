"""How backbones run over clips: the settings of an engine."""

from ..settings import check_fields, setting, settings

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MOST_CLIPS = 1024  # a pass is always as large as it is said to be, with blanks where clips are fewer


@settings
class EngineSettings:
    """How to run a backbone. Features are stored as float16 and scores as float32 in any precision.

    The threads are those of the whole process. They are part of the provenance: name them where several processes must
    agree.
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
