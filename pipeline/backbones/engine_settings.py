"""How backbones run over clips: the settings of an engine."""

from dataclasses import dataclass

from ..errors import SettingsError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MOST_CLIPS = 1024  # a pass is always as large as it is said to be, with blanks where clips are fewer


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """How to run a backbone.

    Attributes:
        device: auto (CUDA where there is one), cpu, cuda or cuda:N.
        precision: of the convolutions: auto, float32, bfloat16 or float16 (CUDA only). Features are stored as float16
            and scores as float32 in any case.
        batch: clips per pass; 0 chooses by device.
        threads: CPU threads of torch, for the whole process; None takes the number that torch has when the engine is
            built. It is part of the provenance; name it where several processes must agree.
    """

    device: str = "auto"
    precision: str = "auto"
    batch: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingsError(f"precision must be {', '.join(PRECISIONS)}; got {self.precision!r}")
        if not 0 <= self.batch <= MOST_CLIPS:
            raise SettingsError(f"--batch must be 0 (chosen by device) or at most {MOST_CLIPS} clips; got {self.batch}")
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"threads must be at least 1; got {self.threads}")
