"""The two doors: `load` a model here, `connect` to one elsewhere; torch is only reached inside `load`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from molmo_point.errors import UsageError
from molmo_point.install import import_failure

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from molmo_point.engine.local import LocalPointer
    from molmo_point.pointer import Pointer

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load(
    name: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    mesh: DeviceMesh | None = None,
    **options: Any,
) -> LocalPointer:
    """Load a model into this process.

    Args:
        name: "nano" (shipped in the package), a name of `molmo-point models`, a hub repository, or a checkpoint folder.
        device: "auto" (CUDA, then Apple's MPS, then CPU), or a torch device such as "cuda:1".
        dtype: "auto" (bfloat16 on CUDA, float32 elsewhere), "float32", "bfloat16" or "float16".
        quantize: None, "int8" or "int4": language model only, vision and connector keep their type.
        mesh: Processes (of `torchrun`) that hold the model together; each must make the same calls in the same order.
        options: Fields of `molmo_point.engine.engine.EngineOptions`.

    Raises:
        ModelNotFound, CheckpointError, DownloadError, MissingExtra, UsageError.
    """
    try:
        import torch
    except ImportError as error:
        raise import_failure(
            error, "torch", "engine", "Running a model in this process"
        ) from error
    from molmo_point.engine.engine import EngineOptions
    from molmo_point.engine.local import LocalPointer
    from molmo_point.model.hub import resolve

    if dtype not in DTYPES:
        raise UsageError(f"expected dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    unknown = set(options) - set(EngineOptions.__dataclass_fields__)
    if unknown:
        raise UsageError(
            f"unknown option {', '.join(sorted(unknown))}: expected {', '.join(EngineOptions.__dataclass_fields__)}"
        )
    where = _device(torch, device)
    kind = getattr(torch, "bfloat16" if where.type == "cuda" else "float32")
    if dtype != "auto":
        kind = getattr(torch, dtype)
    folder = resolve(name)
    label = str(name) if not Path(str(name)).is_dir() else folder.resolve().name
    # What is to be quantised waits on the CPU: in its full type it may be too large for the device.
    first = where if quantize is None or mesh is not None else torch.device("cpu")
    pointer = LocalPointer.from_folder(
        folder, label, device=first, dtype=kind, options=EngineOptions(**options), mesh=mesh
    )
    if quantize is not None:
        from molmo_point.model.quantize import quantize_decoder

        quantize_decoder(pointer.network, quantize, device=where)
    return pointer


def connect(url: str, **options: Any) -> Pointer:
    """Connect to a pointing server: "tcp://gpu:5555" (ZMQ) or "http://gpu:8000"; the same interface as a local model.

    Args:
        options: See `molmo_point.client.connect`.

    Raises:
        UsageError: Not such a URL.
        ServerGone, Refused, VersionMismatch: Nobody answers there, or not to us.
    """
    from molmo_point import client

    return client.connect(url, **options)


def _device(torch: Any, name: str) -> Any:
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
        else:
            name = "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"expected a device like auto, cpu, cuda, cuda:1 or mps, got {name!r}"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"there is no CUDA device here (asked for {name!r}): use device='cpu' or 'auto'"
        )
    return device
