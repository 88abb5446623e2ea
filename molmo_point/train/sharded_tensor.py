"""Tensors that may be sharded over several processes, whole and back."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor that may be sharded; every process must call this in the same order."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, target: Tensor) -> Tensor:
    """Return a whole tensor sharded as `target` is."""
    if isinstance(target, DTensor) and tensor.ndim:
        return distribute_tensor(
            tensor.to(target.device), target.device_mesh, target.placements, src_data_rank=None
        )
    return tensor
