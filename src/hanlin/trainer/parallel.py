"""A learner over several processes: replicated in each, or divided among them.

One mechanism for both, torch's FSDP2 (arXiv 2304.11277), over processes laid out as replicas x shards: N x 1 or 1 x N.
Weights, gradients and optimizer state are then DTensors, of which each process holds its rows. A block is gathered just
before it is used, so that beside its own part a process holds one whole block, the embedding and the head.
What torch brings for this takes a second to import: it is imported where there are several processes.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hanlin.base.device import Compute
from hanlin.base.distributed import local_ranks, ranks
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.block import Block
from hanlin.trainer.config import Distribution
from hanlin.trainer.learner import Learner

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, Placement


def distribute(learner: Learner, distribution: Distribution, compute: Compute) -> None:
    """Lay the parameters of `learner` out over all processes, which have built it with equal values; on one, nothing.

    Losses are sums already divided by the count of all processes, so gradients are added up and not averaged.
    With bfloat16, weights travel and are used in it, and gradients are added in float32.
    """
    if ranks() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    _require_devices(compute)
    shape = (ranks(), 1) if distribution == "replicate" else (1, ranks())
    mesh = init_device_mesh(compute.device.type, shape, mesh_dim_names=("replicas", "shards"))
    half = compute.precision == torch.bfloat16
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    for module in [*(block for block in learner.modules() if isinstance(block, Block)), learner]:
        fully_shard(module, mesh=mesh, mp_policy=policy)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo can add, not average
    register_fsdp_forward_method(learner, "examine")


def set_last_pass(learner: nn.Module, last: bool) -> None:
    """Say before a backward pass whether it is the last of its step: replicas add their gradients up in that one."""
    if _is_wrapped(learner):
        learner.set_requires_all_reduce(last)
        learner.set_is_last_backward(last)


def release(learner: nn.Module) -> None:
    """Let go of gathered weights that no backward pass will use, so that each process is left with its parts."""
    if _is_wrapped(learner):
        learner.reshard()


@contextlib.contextmanager
def usable_alone(learner: nn.Module) -> Iterator[None]:
    """Within it a process that holds the whole model, as with replicas, can use it by itself, outside any pass."""
    if _is_wrapped(learner):
        learner.unshard()
    try:
        yield
    finally:
        release(learner)


def own_part(tensor: Tensor) -> Tensor:
    """The rows of `tensor` that this process holds, sharing their memory."""
    return tensor.to_local() if _is_distributed(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of `tensor`, gathered from the processes that hold parts of it."""
    return tensor.full_tensor() if _is_distributed(tensor) else tensor


def laid_out_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole `tensor` that every process has, laid out over them as `like` is; without any message."""
    if not _is_distributed(like) or _is_distributed(tensor):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def map_matrices(work: Callable[[Tensor], Tensor], matrices: Sequence[Tensor]) -> Sequence[Tensor]:
    """`work` on whole matrices of one shape as a batch (N, R, C), of which each process takes its share.

    The results are laid out as `matrices` are.
    """
    batch_NRC = torch.stack(list(matrices))
    if not _is_distributed(batch_NRC):
        return work(batch_NRC).unbind()
    from torch.distributed.tensor import DTensor, Replicate, Shard

    mesh, rows = batch_NRC.device_mesh, batch_NRC.placements
    everywhere = [Replicate() for _ in rows]

    def moved(batch: DTensor, placements: "Sequence[Placement]") -> DTensor:
        if batch.device.type == "cpu":  # gloo has no all-to-all: first all of it to each, then its part
            batch = batch.redistribute(placements=everywhere)
        return batch.redistribute(placements=placements)

    share_nRC = moved(batch_NRC, [Shard(0) if size > 1 else Replicate() for size in mesh.shape])
    done_nRC = DTensor.from_local(
        work(share_nRC.to_local()),
        mesh,
        share_nRC.placements,
        shape=batch_NRC.shape,
        stride=batch_NRC.stride(),
    )
    return moved(done_nRC, rows).unbind()


def norms_over_shards(norms_N: Tensor, like: Tensor) -> Tensor:
    """Norms of whole tensors, of which each process has those of the rows that it holds of tensors laid out as `like`."""
    if not _is_distributed(like) or like.device_mesh["shards"].size() == 1:
        return norms_N
    squares_N = norms_N.square()
    dist.all_reduce(squares_N, group=like.device_mesh["shards"].get_group())
    return squares_N.sqrt()


def require_one_process() -> None:
    """Raise `ConfigError` in a run of several: for what compares all rows of a batch with each other."""
    if ranks() > 1:
        raise ConfigError(
            Text("This objective compares the rows of a whole batch, which several processes do not have together.",
                 "该目标要比较整个批次的各行，而多个进程各自只有其中一部分。"),
            Text("Train in one process.", "请用单个进程训练。"),
        )  # fmt: skip


def _is_distributed(tensor: Tensor) -> "TypeGuard[DTensor]":
    return hasattr(tensor, "device_mesh")


def _is_wrapped(learner: nn.Module) -> "TypeGuard[FSDPModule]":
    return hasattr(learner, "reshard")


def _require_devices(compute: Compute) -> None:
    if compute.device.type == "cuda" and local_ranks() > torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise ConfigError(
            Text(f"{local_ranks()} processes on this machine need as many GPUs; there are {there}.",
                 f"本机 {local_ranks()} 个进程需要同样多的 GPU，而这里只有 {there} 块。"),
            Text(f"Start {there} processes, or set pretrain.device=cpu.",
                 f"请启动 {there} 个进程，或设 pretrain.device=cpu。"),
        )  # fmt: skip
