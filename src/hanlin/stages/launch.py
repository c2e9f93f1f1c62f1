"""Several processes of one run on this machine, as torchrun would start them; several machines need torchrun itself."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from types import FrameType

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from hanlin.base.distributed import joined, ranks
from hanlin.base.errors import ConfigError, HanlinError, TrainingError
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest
from hanlin.base.progress import console
from hanlin.stages.pretrain import RUN, run_pretrain
from hanlin.stages.recipe import Recipe
from hanlin.stages.workers import end_with_parent

_FAILED, _INTERRUPTED = HanlinError.exit_code, 130
_SECONDS_TO_END = 2.0
"""How long the others have to notice by themselves that one has failed, before they are killed."""

Reports = SimpleQueue[tuple[Text, Text]]


def launch(work: Callable[[], object], processes: int) -> None:
    """Run `work`, which can be pickled, in so many new processes that share the threads of this one.

    Raises what the first failing process raised if it is a `HanlinError`, `TrainingError` naming a process that was
    killed or has printed a traceback, and `Interrupted` when all have stopped and saved after Ctrl-C or SIGTERM here.
    No process outlives this call.
    """
    # Here, not in process 0: whichever dies, the others can still agree on who tells.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = get_context("spawn")
    reports: Reports = context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // processes)
    started = [
        context.Process(target=_process, args=(rank, processes, store.port, threads, reports, work))
        for rank in range(processes)
    ]
    with _passing_on(started) as stop:
        try:
            ended = _wait(started)
        finally:
            for process in started:
                process.kill()
                process.join()
            console.show_cursor()  # a killed progress bar had hidden it
    _raise_failure(ended, processes, reports, stop.is_set())


def pretrain_in_processes(recipe: Recipe, fresh: bool, processes: int) -> Manifest:
    """`run_pretrain` here, or in so many new processes; raises as it and `launch` do."""
    if processes == 1:
        return run_pretrain(recipe, fresh)
    if ranks() > 1:
        raise ConfigError(
            Text("--processes starts processes, but torchrun has started this one already.",
                 "--processes 会启动多个进程，而当前进程已由 torchrun 启动。"),
            Text("Leave --processes out.", "请去掉 --processes。"),
        )  # fmt: skip
    launch(partial(run_pretrain, recipe, fresh), processes)
    return read_manifest(recipe.places.pretrain, RUN)


def _process(
    rank: int, processes: int, port: int, threads: int, reports: Reports, work: Callable[[], object]
) -> None:
    """What runs in each process."""
    os.setsid()  # Ctrl-C in a terminal reaches the parent alone, which passes it on once
    threading.Thread(target=end_with_parent, daemon=True).start()
    number, count = str(rank), str(processes)
    os.environ.update(RANK=number, LOCAL_RANK=number, WORLD_SIZE=count, LOCAL_WORLD_SIZE=count)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE=str(True))
    torch.set_num_threads(threads)
    try:
        with joined():
            work()
    except HanlinError as error:
        reports.put((error.problem, error.remedy))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


@contextlib.contextmanager
def _passing_on(processes: Sequence[SpawnProcess]) -> Iterator[threading.Event]:
    """Start the processes; SIGINT and SIGTERM are passed on to them as SIGTERM, and noted (main thread only)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        for process in processes:
            process.start()
        yield stop
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        stop.set()
        for process in processes:
            if process.is_alive():
                process.terminate()

    # Ignored while they start: new processes inherit that, and meet a Ctrl-C as SIGTERM from here.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    try:
        for process in processes:
            process.start()
        signal.signal(signal.SIGINT, pass_on)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[SpawnProcess]) -> dict[int, int]:
    """The exit codes by rank, in the order of ending, when all have ended or soon after one has failed."""
    ranks = {process.sentinel: rank for rank, process in enumerate(processes)}
    ended: dict[int, int] = {}
    deadline = math.inf
    while ranks and time.monotonic() < deadline:
        for sentinel in connection.wait(list(ranks), None if deadline == math.inf else 0.1):
            assert isinstance(sentinel, int)
            rank = ranks.pop(sentinel)
            processes[rank].join()
            ended[rank] = code = processes[rank].exitcode or 0
            if code not in (0, _INTERRUPTED):
                deadline = min(deadline, time.monotonic() + _SECONDS_TO_END)
    return ended


def _raise_failure(ended: dict[int, int], processes: int, reports: Reports, stopped: bool) -> None:
    """Turn what has ended how into one exception, or none."""
    if all(code == 0 for code in ended.values()):
        return
    if all(code == _INTERRUPTED for code in ended.values()):
        raise Interrupted
    if stopped:
        raise KeyboardInterrupt
    culprit = next((rank for rank, code in ended.items() if code not in (0, _FAILED, _INTERRUPTED)), None)
    if culprit is None and not reports.empty():
        raise HanlinError(*reports.get())
    raise _ended(culprit if culprit is not None else next(iter(ended)), ended, processes)


def _ended(rank: int, ended: dict[int, int], processes: int) -> TrainingError:
    """A process was killed or has failed with a traceback, and with it all others."""
    code = ended[rank]
    name = signal.Signals(-code).name if code < 0 else None
    how = Text(f"was killed by {name}", f"被 {name} 终止") if name else Text("failed", "出错")
    why = (
        Text(
            "The system kills a process when memory runs out: if it did, lower pretrain.micro_rows or the number of processes.",
            "内存耗尽时系统会终止进程：若是如此，请减小 pretrain.micro_rows 或进程数。",
        )
        if code == -signal.SIGKILL
        else Text("What it said is above.", "其输出见上文。")
    )
    return TrainingError(
        Text(
            f"Process {rank} of {processes} (ranks 0 to {processes - 1}) {how.en}; the others were stopped.",
            f"{processes} 个进程（编号 0 到 {processes - 1}）中的第 {rank} 号{how.zh}；其余进程已停止。",
        ),
        Text(
            f"{why.en} The last checkpoint is kept: the same command goes on from there.",
            f"{why.zh}最近的检查点仍在：再次运行同一命令即可继续。",
        ),
    )
