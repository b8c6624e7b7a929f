"""Processes of their own for tests that kill, launch or spread work: as real as a shell's, but begun in a moment.

A fork server, one for each process of pytest, imports once what every command needs; its children are copies of it.
"""

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vidpipe.cli.main import COMMANDS, main

CONTEXT = multiprocessing.get_context("forkserver")
OTHERS = ("distributed", "distributed.nanny", "distributed.worker", "matplotlib.pyplot", "torch.distributed.run")
FORKED = {"distributed.worker.multiprocessing-method": "forkserver"}


def ensure_server() -> None:
    """Start the fork server unless it runs."""
    CONTEXT.set_forkserver_preload([f"vidpipe.cli.{module}" for module, _ in COMMANDS.values()] + [*OTHERS, "pytest"])
    forkserver.ensure_running()


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let Dask's workers on this machine come from the fork server too."""
    ensure_server()
    importlib.import_module("distributed")  # whose settings would replace ours when it is imported later
    with dask.config.set(FORKED):
        yield


def started(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Return a process that runs ``function(*arguments)``, which must be a module's, in a session of its own."""
    ensure_server()
    process = CONTEXT.Process(target=_in_own_session, args=(function, arguments))
    process.start()
    return process


def started_command(*arguments: str, output: Path | None = None) -> BaseProcess:
    """Return a process that runs ``vidpipe`` with these arguments; ``output`` gets what it says."""
    return started(_run_command, arguments, output)


def run_command(*arguments: str, output: Path) -> int:
    """Return the exit status of ``vidpipe`` with these arguments."""
    return exit_status(started_command(*arguments, output=output))


def launched(count: int, *arguments: str, output: Path) -> int:
    """Return the exit status of ``vidpipe`` in processes that train together, begun and watched by torchrun's agent."""
    return exit_status(started(_launch, count, arguments, output))


def exit_status(process: BaseProcess, *, seconds: float = 120) -> int:
    """Wait until a process has ended, and return its status: minus the signal that killed it, if one did."""
    process.join(seconds)
    if process.exitcode is None:
        kill(process)
        pytest.fail(f"still at work after {seconds} s")
    return process.exitcode


def kill(process: BaseProcess) -> int:
    """Kill a process and the workers that it has started as ``kill -9`` does, and return its status."""
    assert process.pid is not None
    own = psutil.Process(process.pid)
    for each in [own, *own.children(recursive=True)]:  # itself first: it would replace workers that die
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def die_after_naming(count: int) -> None:
    """Let this process die, as ``kill -9`` lets it, when it would name a file for the time after ``count`` ones."""
    replace_file, left = Path.replace, count

    def dying(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace_file(self, target)

    Path.replace = dying


def _in_own_session(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    function(*arguments)


def _write_to(output: Path | None) -> None:
    """Let the standard streams of this process, and of those that it starts, end in a file."""
    sys.stdout.flush()
    file = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)


def _run_command(arguments: tuple[str, ...], output: Path | None) -> None:
    _write_to(output)
    sys.argv = ["vidpipe", *arguments]
    with dask.config.set(FORKED):
        main()


def _launch(count: int, arguments: tuple[str, ...], output: Path) -> None:
    _write_to(output)
    # Python would start another server for the processes that this one begins, though it knows the way to ours.
    forkserver._forkserver.ensure_running = lambda: None
    own = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="forkserver",
        monitor_interval=0.1,
    )
    elastic_launch(own, _run_command)(arguments, output)
