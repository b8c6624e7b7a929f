"""The device and the precision in which networks run on this machine."""

import torch

from ..errors import SettingsError, named

_DEVICE_TYPES = ("cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; auto is CUDA where there is one, otherwise the CPU.

    Raises:
        SettingsError: if the name is unknown or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"{named('device')} must be auto, cpu, cuda or cuda:N; got {name!r}") from error
    if device.type not in _DEVICE_TYPES:
        raise SettingsError(f"{named('device')} must be auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"there is no device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices. Try cpu."
        )
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """Return the precision to use on a device; auto is the fastest one without loss of range.

    That is bfloat16 where the hardware multiplies it: it has float32's range. GPUs before Ampere lack it and get
    float16, which may overflow inside a network.

    Raises:
        SettingsError: for float16 on a CPU.
    """
    if name == "float16" and device.type == "cpu":
        raise SettingsError("precision float16 needs a CUDA device; on a CPU use bfloat16, float32 or auto")
    if name != "auto":
        return name
    if device.type == "cuda":
        # Compute capability 8.0 is Ampere, the first with bfloat16. `torch.cuda.is_bf16_supported` would not do:
        # by default it also says yes where bfloat16 is merely emulated.
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware (AVX512_BF16, which AMX CPUs have too)."""
    # Other CPUs compute bfloat16 by way of float32, which gains nothing.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return bool(probe and probe())
