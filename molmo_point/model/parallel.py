"""Join the shares of a model at work: sum what each process computed of a block, through torch's DTensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Partial

from molmo_point.model.molmo import Molmo

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def join(model: Molmo, mesh: DeviceMesh) -> Molmo:
    """Make a share (see `share.Share`) compute what the whole model would, together with the other processes of `mesh`.

    Every process must ask the same questions in the same order; all get the same answers.
    """

    def total(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return DTensor.from_local(output, mesh, [Partial()]).full_tensor()

    for name, module in model.decoder.named_modules():
        if name.endswith(("attention.out", "ffn.down")):
            module.register_forward_hook(total)
    return model
