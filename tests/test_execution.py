"""The Dask executors give what the serial one gives, take tasks as they are needed, and end in plain words."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import KilledWorker
from own_processes import forked_workers
from refusals import assert_refused

from vidpipe.pipeline import execution
from vidpipe.pipeline.errors import SettingsError, VideoError
from vidpipe.pipeline.execution import TASKS_PER_WORKER, ExecutionError, run_tasks


def square(number: int) -> int:
    return number * number


def where(number: int) -> tuple[int, int, str]:
    return number * number, os.getpid(), os.environ["OMP_NUM_THREADS"]


def fail_at_three(number: int) -> int:
    if number == 3:
        raise VideoError("no video stream")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def die_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(9)
    return marker


def slow(number: int) -> int:
    time.sleep(60)
    return number


def counted(taken: list[int]) -> Iterator[int]:
    for number in itertools.count():
        taken.append(number)
        yield number


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the address of a Dask cluster that somebody else runs."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def test_serial_is_lazy_and_in_order():
    taken: list[int] = []
    results = run_tasks(square, counted(taken))
    assert list(itertools.islice(results, 4)) == [0, 1, 4, 9]
    assert taken == [0, 1, 2, 3]


def test_local_gives_what_serial_gives_in_processes_with_the_threads_asked_for():
    results = list(run_tasks(where, range(40), scheduler="local", workers=2, threads_per_worker=3))
    assert sorted(result for result, *_ in results) == list(run_tasks(square, range(40)))
    assert {threads for *_, threads in results} == {"3"}
    assert os.getpid() not in {process for _, process, _ in results}


def test_a_cluster_that_runs_gives_what_serial_gives(address: str):
    assert sorted(run_tasks(square, range(40), scheduler=address)) == list(run_tasks(square, range(40)))


def test_no_tasks_give_no_results(address: str):
    assert list(run_tasks(square, [], scheduler=address)) == []


def test_tasks_are_taken_as_they_are_needed_and_closing_stops(address: str):
    taken: list[int] = []
    results = run_tasks(square, counted(taken), scheduler=address)
    assert [next(results) for _ in range(5)]
    assert len(taken) <= 5 + TASKS_PER_WORKER
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert sorted(run_tasks(square, range(3), scheduler=address)) == [0, 1, 4]  # the cluster goes on


@pytest.mark.parametrize("scheduler", ["none", "address"])
def test_what_a_task_raises_is_raised(request: pytest.FixtureRequest, scheduler: str):
    if scheduler == "address":
        scheduler = request.getfixturevalue("address")
    with pytest.raises(VideoError, match="^no video stream$"):
        list(run_tasks(fail_at_three, range(6), scheduler=scheduler))


def test_a_worker_that_died_is_replaced(tmp_path: Path):
    marker = str(tmp_path / "died")
    with forked_workers():
        assert list(run_tasks(die_once, [marker], scheduler="local", workers=1)) == [marker]


def test_the_others_go_on_after_a_task_that_kills_its_workers_if_it_may_be_lost():
    with forked_workers():
        results = run_tasks(
            die_at_three, range(6), scheduler="local", workers=1, lost=lambda task, error: (task, str(error))
        )
        by_kind = sorted(results, key=str)
    assert by_kind[1:] == [0, 1, 2, 4, 5]
    assert by_kind[0][0] == 3
    assert by_kind[0][1].startswith("3 workers died one after the other while they ran 3")


def test_a_task_that_kills_its_workers_is_named_if_it_may_not_be_lost():
    class Killed:
        def result(self) -> None:
            raise KilledWorker("key", None, 2)  # type: ignore[arg-type]

    with pytest.raises(ExecutionError, match="3 workers died .* while they ran 3"):
        execution._result(Killed(), 3, None)  # type: ignore[arg-type]


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(execution, "CONNECT_SECONDS", 1)
    began = time.monotonic()
    with pytest.raises(ExecutionError, match="No Dask scheduler answers at tcp://127.0.0.1:9"):
        list(run_tasks(square, range(3), scheduler="tcp://127.0.0.1:9"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("scheduler", "workers", "message"),
    [
        ("dask", None, "must be 'none', 'local' or an address"),
        ("http://host:1", None, "must be 'none', 'local' or an address"),
        ("none", 2, "--workers is for --scheduler local"),
        ("tcp://host:1", 2, "--workers is for --scheduler local"),
        ("local", 0, "at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused_at_once(scheduler: str, workers: int | None, message: str):
    with assert_refused(SettingsError, match=message):
        run_tasks(square, [], scheduler=scheduler, workers=workers)


def test_dask_is_not_imported_for_serial_work():
    code = (
        "import sys; from vidpipe.pipeline.execution import run_tasks; list(run_tasks(abs, [1])); "
        "sys.exit('dask' in sys.modules or 'distributed' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
sys.path.insert(0, {tests!r})
import test_execution
from vidpipe.pipeline.execution import run_tasks

if __name__ == "__main__":
    try:
        def tasks():
            for number in range(100):
                if number == 5:  # the last that two workers are handed at first
                    print("running", flush=True)
                yield number
        list(run_tasks(test_execution.slow, tasks(), scheduler="local", workers=2))
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_stops_all_processes_soon_and_quietly(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own, as a terminal's foreground job is
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=60) == ("stopped\n", None)
        assert process.returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
