"""How much memory is available, and whether an error means that there was too little."""

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# Controller's directory, limit, usage, and the line of memory.stat with what the kernel frees when it is needed.
_CGROUP_VERSIONS = (
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ("", "memory.max", "memory.current", "inactive_file"),
)
_LIMITS = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))
_MESSAGES = (  # of a RuntimeError: torch's allocator for CPUs, C++ in general, CUDA's libraries
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_ONEDNN_MESSAGE = "could not create a primitive"  # in full; longer ones say what is not supported


def host_bytes(*, processes: int = 1) -> int:
    """Return how many bytes this process can take of the machine's memory.

    That is the least that the machine, the control groups (both versions) and the process's own limits leave.

    Args:
        processes: how many share what the machine and the control groups leave, evenly.
    """
    return min([*_shared_bytes(processes), *_limited_bytes()])


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` means that memory ran out: on CUDA, in Python, or in what torch calls on a CPU."""
    # Whoever never loaded torch cannot have its error: then it need not be loaded for this question.
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    said = str(error)
    return said == _ONEDNN_MESSAGE or any(message in said for message in _MESSAGES)


def _shared_bytes(processes: int) -> list[int]:
    """Return one process's share of each figure of what is left for all of them."""
    left = [_machine_bytes(), *_cgroup_bytes()]
    return [own // processes for own in left]


def _machine_bytes() -> int:
    """Return what the kernel can give without swapping; if it does not say, all memory there is."""
    available = _kibibytes(PROC / "meminfo", "MemAvailable")
    return available if available is not None else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup_bytes() -> Iterator[int]:
    """Yield what each control group of this process leaves below its limit, with file caches counted as free."""
    for controller, limit_name, usage_name, cache_name in _CGROUP_VERSIONS:
        for group in _cgroups(controller):
            limit, usage = _number(group / limit_name), _number(group / usage_name)
            if limit is not None and usage is not None:
                yield max(0, limit - usage + _cached_bytes(group / "memory.stat", cache_name))


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the directories of this process's control groups, from the innermost to the root.

    In a container the innermost is often mounted as the root, and the directories in between do not exist.
    """
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, name = line.split(":", 2)
        if controller in controllers.split(","):
            root = CGROUPS / controller
            path = root / name.lstrip("/")
            yield from (path, *(parent for parent in path.parents if parent.is_relative_to(root)))


def _cached_bytes(path: Path, name: str) -> int:
    values = [line.split()[1] for line in _lines(path) if line.startswith(f"{name} ")]
    return int(values[0]) if values else 0


def _limited_bytes() -> Iterator[int]:
    """Yield what `ulimit -v` and `ulimit -d` leave, if they are set."""
    for limit, name in _LIMITS:
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            yield max(0, soft - (_kibibytes(PROC / "self" / "status", name) or 0))


def _kibibytes(path: Path, name: str) -> int | None:
    """Return the bytes in a line such as "VmSize: 123 kB"; None if there is none."""
    values = [line.split()[1] for line in _lines(path) if line.startswith(f"{name}:")]
    return int(values[0]) * 1024 if values else None


def _number(path: Path) -> int | None:
    """Return the number in a file; None for "max" or no file."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
