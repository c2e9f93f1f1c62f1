"""The processes of one run: who they are, and what they tell each other.

A launcher (torchrun, `hanlin pretrain --processes N`, a Slurm script) starts the same command several times and sets RANK,
WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Without them a run is one process, and everything
here costs nothing. Numbers travel over gloo and wait for no device; what is trained travels over NCCL between GPUs.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from hanlin.base.errors import TrainingError
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.seeds import seed_everything

T = TypeVar("T")

_LONG = timedelta(days=1)
"""How long processes wait for the first one, which may encode a whole corpus meanwhile."""

_talk: dist.ProcessGroup | None = None


def rank() -> int:
    """The number of this process: 0 is the one that prints, writes and holds locks."""
    return dist.get_rank() if _talk is not None else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _talk is not None else 1


def local_ranks() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _talk is not None else 1


def total(*numbers: float) -> list[float]:
    """Each number summed over all processes."""
    if _talk is None:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums, group=_talk)
    return cast(list[float], sums.tolist())


def any_says(flag: bool) -> bool:
    """Whether any process says so; all must ask."""
    return total(flag)[0] > 0


def gathered(value: T) -> list[T]:
    """The value of every process, by rank."""
    if _talk is None:
        return [value]
    values: list[Any] = [None] * ranks()
    dist.all_gather_object(values, value, group=_talk)
    return values


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives on the first process, for all; the others wait for it."""
    if _talk is None:
        return make()
    values = [make() if rank() == 0 else None]
    dist.broadcast_object_list(values, src=0, group=_talk)
    return cast(T, values[0])


def part_ways() -> None:
    """Give the random generators of every process but the first a state of its own, which follows from their common one."""
    if rank() > 0:
        seed_everything(int(torch.randint(2**62, ())) + rank())


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Within it this process belongs to its run, if a launcher started it as one of several.

    When one process fails, it alone tells the error; the others, which lose their peer, end in silence with exit code 2.
    Raises `TrainingError` where a process was lost that could say nothing itself.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    store = _start()
    try:
        yield
    except Interrupted:
        _stop()
        raise
    except BaseException as error:
        # Without a word to the others: who waits for this process sees its connection end.
        if not _is_first_to_fail(store):
            raise SystemExit(2) from None
        if _is_loss_of_peer(error):
            raise _lost() from error
        raise
    else:
        _stop()


def _start() -> Store:
    global _talk
    console.quiet = os.environ["RANK"] != "0"
    store: Store
    store, number, count = next(rendezvous("env://"))
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local < torch.cuda.device_count():
            torch.cuda.set_device(local)
    dist.init_process_group(backend, store=store, rank=number, world_size=count)
    _talk = dist.new_group(backend="gloo", timeout=_LONG)
    return store


def _stop() -> None:
    global _talk
    dist.barrier(_talk)
    _talk, console.quiet = None, False
    dist.destroy_process_group()


def _is_first_to_fail(store: Store) -> bool:
    """Whether no other process has claimed to tell what went wrong; the store lives as long as the launcher."""
    console.quiet = False
    try:
        claimed = store.compare_set("hanlin/failed", "", str(dist.get_rank()))
    except RuntimeError:
        return True
    return bool(claimed == str(dist.get_rank()).encode())


def _is_loss_of_peer(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _lost() -> TrainingError:
    return TrainingError(
        Text("Another process of this run has ended.", "本次运行的另一个进程已经终止。"),
        Text(
            "Its own output says why, or the system killed it, as it does when memory runs out. "
            "The last checkpoint is kept: the same command goes on from there.",
            "原因见该进程的输出；也可能是被系统终止（例如内存耗尽）。最近的检查点仍在：再次运行同一命令即可继续。",
        ),
    )
