"""A network and its optimizer over several processes (torch's fully_shard), one for each GPU, started by torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from molmo_point.train.token_loss import AnswerLoss


@dataclass(frozen=True)
class Processes:
    """The processes of a run: this one's number, and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def total(self, value: float, device: torch.device) -> float:
        """Return the sum over all processes."""
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return float(tensor)

    def wait(self) -> None:
        """Wait for the others."""
        if self.count > 1:
            dist.barrier()


def join_processes(device: str) -> Processes:
    """Join the processes that torchrun started; alone, return this one.

    Args:
        device: "cpu" (gloo) or "cuda" (nccl; this process takes the GPU of its local rank).
    """
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Processes()
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())


def shard(network: AnswerLoss) -> None:
    """Shard the parameters over all processes: block by block, and everything else together."""
    for block in (*network.model.vision.blocks, *network.model.decoder.blocks):
        fully_shard(block)
    fully_shard(network)
