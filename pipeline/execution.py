"""Where tasks run, and how their progress is reported.

Tasks run in this process, on a Dask cluster started on this machine, or on a running cluster.

The serial executor is the reference; the Dask ones run the same function on the same tasks. None promises an order, and
no task's result depends on where it ran. Dask is imported only if it is asked for.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Protocol, TypeVar

from .errors import SettingsError, VidpipeError, named

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Result = TypeVar("Result")

IN_PROCESS, LOCAL = "none", "local"
TASKS_PER_WORKER = 3  # submitted at a time: enough that no worker waits, even if there are a million tasks in all
CONNECT_SECONDS = 5
_RETRIES = 2  # how often a task may lose its worker before it is blamed for that


class ExecutionError(VidpipeError, RuntimeError):
    """The machinery that runs tasks is not available, or a task brought its worker down."""


class WorkerLostError(ExecutionError):
    """A task brought its workers down, one after the other."""


class Progress(Protocol):
    """Receives reports on long work and may show them; it does not influence the work.

    `begin` and `end` enclose one piece of work after another; `under_way` calls both.
    """

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:
        """Report that work begins.

        Args:
            what: a word for it.
            total: how many of a ``unit`` there are to do.
            unit: in the singular.
            done: how many of them were done before.
            untypical: how many of the next ones may take another time than the rest, and say nothing about it.
        """
        ...

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Report that so many more are done; any thread may call it.

        Args:
            number: how many.
            note: text worth a line of its own, such as a failure; settings are marked as in messages (`errors.named`).
        """
        ...

    def milestone(self, text: str) -> None:
        """Report that a part of the work is finished, and its result, such as an epoch's figures."""
        ...

    def notice(self, text: str) -> None:
        """Report something that a user should know, and that is no failure; any thread may call it."""
        ...

    def end(self) -> None:
        """Report that the work is over, finished or not."""
        ...


class Silent:
    """Progress that nobody sees."""

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:
        """Do nothing."""

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Do nothing."""

    def milestone(self, text: str) -> None:
        """Do nothing."""

    def notice(self, text: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


SILENT: Progress = Silent()


@contextlib.contextmanager
def under_way(
    progress: Progress, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0
) -> Iterator[Progress]:
    """Report the begin and the end of the work in the block to ``progress``; arguments as for `Progress.begin`."""
    progress.begin(what, total=total, unit=unit, done=done, untypical=untypical)
    try:
        yield progress
    finally:
        progress.end()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    scheduler: str = IN_PROCESS,
    workers: int | None = None,
    threads_per_worker: int = 1,
    lost: Callable[[Task, WorkerLostError], Result] | None = None,
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, as they complete. After the iterator is closed, no new task begins.

    Args:
        function: must be picklable (defined in a module) for a Dask scheduler; its exceptions are raised here.
        tasks: picklable likewise; taken only when they are needed.
        scheduler: `none` (in this process, in order), `local` (a Dask cluster on this machine), or the address of a
            running cluster, as `tcp://host:8786`.
        workers: processes of the local cluster; None: one per core. A running cluster has its own.
        threads_per_worker: OMP_NUM_THREADS of each process of the local cluster, which runs one task at a time.
        lost: makes the result of a task whose workers kept dying; None: that is an error.

    Raises:
        SettingsError: if there is no such scheduler, or ``workers`` does not apply to it.
        ExecutionError: if the cluster cannot be reached, or a task's workers kept dying.
    """
    check_scheduler(scheduler, workers)
    if scheduler == IN_PROCESS:
        return map(function, tasks)
    return _run_on_dask(function, tasks, scheduler, workers, threads_per_worker, lost)


def check_scheduler(scheduler: str, workers: int | None = None) -> None:
    """Refuse an impossible scheduler.

    Raises:
        SettingsError: the message says what is possible.
    """
    if scheduler not in (IN_PROCESS, LOCAL) and not scheduler.startswith(("tcp://", "tls://")):
        raise SettingsError(
            f"{named('scheduler')} must be 'none', 'local' or an address as tcp://host:8786; got '{scheduler}'."
        )
    if workers is not None and scheduler != LOCAL:
        raise SettingsError(f"{named('workers')} is for {named('scheduler')} local; with '{scheduler}' leave it out.")
    if workers is not None and workers < 1:
        raise SettingsError(f"{named('workers')} must be at least 1; got {workers}.")


def _run_on_dask(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    scheduler: str,
    workers: int | None,
    threads_per_worker: int,
    lost: Callable[[Task, WorkerLostError], Result] | None,
) -> Iterator[Result]:
    """Keep a few tasks per worker submitted, and yield each result as it arrives."""
    from distributed import as_completed

    with _client(scheduler, workers, threads_per_worker) as client:
        waiting = iter(tasks)
        running: dict[Future, Task] = {}

        def submit_next(count: int) -> "list[Future]":
            # Not pure: Dask would take equal tasks for one and the same.
            futures = {client.submit(function, task, pure=False): task for task in islice(waiting, count)}
            running.update(futures)
            return list(futures)

        completed = as_completed(submit_next(TASKS_PER_WORKER * _num_slots(client, scheduler)), loop=client.loop)
        for future in completed:
            task = running.pop(future)
            completed.update(submit_next(1))
            yield _result(future, task, lost)


def _result(future: "Future", task: Task, lost: Callable[[Task, WorkerLostError], Result] | None) -> Result:
    """Return a task's result, or what ``lost`` makes of one that killed its workers, or raise what it raised.

    Raises:
        ExecutionError: if the task has no result because its workers, or the cluster, are gone.
    """
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        reason = WorkerLostError(
            f"{_RETRIES + 1} workers died one after the other while they ran {str(task)[:200]}. Most likely they ran "
            f"out of memory: use fewer {named('workers')}; or leave {named('scheduler')} out, to see what happens."
        )
        if lost is None:
            raise reason from error
        return lost(task, reason)
    except CancelledError as error:
        raise ExecutionError("The Dask cluster went away. What is done is kept; the same command goes on.") from error


def _num_slots(client: "Client", scheduler: str) -> int:
    """Return how many tasks the cluster runs at once.

    Raises:
        ExecutionError: if it has no workers.
    """
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        raise ExecutionError(
            f"The Dask scheduler at {scheduler} has no workers. Start some: dask worker {scheduler}"
        ) from error
    return sum(client.nthreads().values())  # pyright: ignore[reportAttributeAccessIssue]


@contextlib.contextmanager
def _client(scheduler: str, workers: int | None, threads_per_worker: int) -> "Iterator[Client]":
    """Yield a client of the cluster, and close what was opened for it.

    Raises:
        ExecutionError: if no scheduler answers at the address.
    """
    from distributed import Client

    if scheduler == LOCAL:
        with _local_cluster(workers or os.cpu_count() or 1, threads_per_worker) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutionError(f"No Dask scheduler answers at {scheduler} (waited up to {CONNECT_SECONDS} s).") from error
    with client:
        yield client


@contextlib.contextmanager
def _local_cluster(workers: int, threads_per_worker: int) -> "Iterator[Client]":
    """Start worker processes that run one task at a time each, and stop them at the end."""
    from dask import config
    from distributed import Client, LocalCluster

    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads_per_worker))
    settings = {
        "distributed.scheduler.allowed-failures": _RETRIES,
        "distributed.scheduler.worker-saturation": 1.0,  # else a task waiting at a worker is blamed for its death
        "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "CRITICAL"},
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(config.set(settings))
        with _without_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,  # tasks at a time: a task uses its threads itself
                memory_limit=0,  # videos and networks live outside what Dask can count or spill
                dashboard_address="127.0.0.1:0",  # any free port: None would take 8787, and warn if it is taken
                silence_logs=logging.CRITICAL,
                env=environment,  # overrides this process's, which a pre-spawn-environ does not
            )
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        try:
            yield client
        except ExecutionError:
            # A worker that is just being replaced would be stopped while it starts, with a long traceback.
            with contextlib.suppress(TimeoutError):
                client.wait_for_workers(workers, timeout=CONNECT_SECONDS)
            raise


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Make threads and processes that start inside the block ignore Ctrl-C for good.

    A terminal sends it to every process; only the coordinator may act on it, by stopping the others.
    """
    resource_tracker.ensure_running()  # of multiprocessing: if it started later, it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
