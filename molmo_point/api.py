"""`load` a model into this process, or `connect` to a server. Only `load` imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from molmo_point.errors import UsageError
from molmo_point.install import import_failure

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

    from molmo_point.engine.local import LocalPointer
    from molmo_point.pointer import Pointer
    from molmo_point.transformers_backend import TransformersPointer


BACKENDS = ("molmo", "transformers")
"""What runs a model: the engine of this package, or transformers' own implementation of it."""


@overload
def load(
    name: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    mesh: DeviceMesh | None = None,
    adapter: str | Path | None = None,
    backend: Literal["molmo"] = "molmo",
    **options: Any,
) -> LocalPointer: ...


@overload
def load(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    backend: Literal["transformers"],
    **options: Any,
) -> TransformersPointer: ...


def load(
    name: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    mesh: DeviceMesh | None = None,
    adapter: str | Path | None = None,
    backend: str = "molmo",
    **options: Any,
) -> LocalPointer | TransformersPointer:
    """Load a model into this process.

    Args:
        name: "nano" (shipped in the package), a name of `molmo-point models`, a hub repository, or a checkpoint folder.
        device: "auto" (CUDA if available, else Apple's MPS, else CPU), or an available torch device such as "cuda:1".
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 on CUDA; on a CPU that computes in bfloat16, too, but for the
            decoders of small models (`nano`), which stay float32; float32 elsewhere. The environment variable MOLMO_POINT_DTYPE
            says what "auto" is.
        quantize: None, "int8" or "int4"; applies to the decoder, vision tower and connector keep their type.
        mesh: Processes (of `torchrun`) that share the model; all must make the same calls in the same order.
        adapter: Folder of a LoRA adapter for this model, as `molmo-point finetune` or peft writes it; merged into the weights as
            they are read. Scores of an adapted model are not calibrated.
        backend: "molmo", the engine of this package, or "transformers": any vision-language model that transformers implements
            (Qwen-VL, Molmo 2), without covariances, absence probabilities, quantize, mesh and adapter.
        options: Fields of `molmo_point.engine.options.EngineOptions`; for transformers, `markup` and `max_new_tokens` of
            `molmo_point.transformers_backend.load`.

    Raises:
        ModelNotFound, CheckpointError, DownloadError, MissingExtra, UsageError; ModelFailed where it does not fit into memory.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise import_failure(
            error, "torch", "engine", "Running a model in this process"
        ) from error
    from molmo_point.model.devices import find_device
    from molmo_point.model.weight_types import DTYPES

    if not isinstance(name, (str, Path)) or not str(name).strip():
        raise UsageError(f"expected the model's name or folder, got {name!r}")
    if dtype not in DTYPES:
        raise UsageError(f"expected dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    if backend not in BACKENDS:
        raise UsageError(f"expected backend to be one of {', '.join(BACKENDS)}, got {backend!r}")
    where = find_device(device)
    if backend == "transformers":
        if quantize is not None or mesh is not None or adapter is not None:
            raise UsageError("quantize, mesh and adapter are for backend='molmo': leave them out")
        kind = getattr(torch, "bfloat16" if where.type == "cuda" else "float32")
        if dtype != "auto":
            kind = getattr(torch, dtype)
        return _load_transformers(name, where, kind, options)
    return _load_molmo(name, where, dtype, quantize, mesh, adapter, options)


def _load_molmo(
    name: str | Path,
    where: torch.device,
    dtype: str,
    quantize: str | None,
    mesh: DeviceMesh | None,
    adapter: str | Path | None,
    options: dict[str, Any],
) -> LocalPointer:
    from molmo_point.checkpoints.config import MolmoConfig
    from molmo_point.checkpoints.folder import read_json
    from molmo_point.checkpoints.hub import resolve
    from molmo_point.checkpoints.low_bit_format import stored_scheme
    from molmo_point.engine.engine import EngineOptions
    from molmo_point.engine.failures import is_out_of_memory, out_of_memory
    from molmo_point.engine.load_engine import load_engine
    from molmo_point.engine.local import LocalPointer
    from molmo_point.model.weight_types import choose_types

    _check_options(options, EngineOptions.__dataclass_fields__)
    engine_options = EngineOptions(**options)
    if quantize is not None:
        from molmo_point.model.quantize import check_scheme

        check_scheme(quantize)
    folder = resolve(name)
    stored = stored_scheme(read_json(folder / "config.json"))
    types = choose_types(
        dtype,
        where,
        MolmoConfig.from_folder(folder),
        stored or quantize,
        shards=1 if mesh is None else mesh.size(),
    )
    label = str(name) if not Path(str(name)).is_dir() else folder.resolve().name
    try:
        engine = load_engine(
            folder,
            label,
            device=where,
            dtype=types.decoder,
            vision_dtype=types.vision,
            options=engine_options,
            mesh=mesh,
            scheme=quantize,
            adapter=adapter,
        )
        return LocalPointer(engine)
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(error) from error
        raise


def _load_transformers(
    name: str | Path, where: torch.device, kind: torch.dtype, options: dict[str, Any]
) -> TransformersPointer:
    _check_options(options, ("markup", "max_new_tokens"))
    try:
        from molmo_point import transformers_backend
    except ImportError as error:
        raise import_failure(
            error, "transformers", "transformers", "backend='transformers'"
        ) from error
    return transformers_backend.load(name, device=where, dtype=kind, **options)


def _check_options(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that nobody reads.

    Raises:
        UsageError: Some of the given names are not known.
    """
    expected = list(known)
    unknown = sorted(set(given) - set(expected))
    if unknown:
        raise UsageError(f"unknown option {', '.join(unknown)}: expected {', '.join(expected)}")


def write_quantized(
    name: str | Path, out: str | Path, *, scheme: str = "int8", dtype: str = "bfloat16"
) -> Path:
    """Write a model's low-bit weights into a new folder that `load` takes; return the folder.

    Args:
        name: As in `load`; with full weights.
        out: Does not exist yet. After an error nothing is left of it.
        scheme: "int8" or "int4".
        dtype: Type of the weights that keep more bits: "float32", "bfloat16" or "float16".

    Raises:
        ModelNotFound, CheckpointError, DownloadError, MissingExtra; UsageError, for a full disk and an existing folder, too.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise import_failure(
            error, "torch", "engine", "Quantizing a model in this process"
        ) from error
    from molmo_point.checkpoints.config import MolmoConfig
    from molmo_point.checkpoints.folder import read_json
    from molmo_point.checkpoints.hub import resolve
    from molmo_point.checkpoints.low_bit_format import stored_scheme
    from molmo_point.model.low_bit_folder import refuse_existing, save_low_bits
    from molmo_point.model.quantize import check_scheme
    from molmo_point.model.weight_types import DTYPES
    from molmo_point.model.weights import load_weights

    check_scheme(scheme)
    if dtype not in DTYPES[1:]:
        raise UsageError(f"expected dtype to be one of {', '.join(DTYPES[1:])}, got {dtype!r}")
    folder, target = resolve(name), Path(out)
    refuse_existing(target)
    config = MolmoConfig.from_folder(folder)
    stored = stored_scheme(read_json(folder / "config.json"))
    if stored is not None:
        raise UsageError(f"{folder} holds {stored} weights already: give the original checkpoint")
    model = load_weights(folder, config, dtype=getattr(torch, dtype), scheme=scheme, packed=False)
    save_low_bits(model, folder, target)
    return target


def merge(name: str | Path, adapter: str | Path, out: str | Path) -> int:
    """Write a model with a LoRA adapter merged into its weights into a new folder; return the number of changed tensors.

    Args:
        name: As in `load`; with full weights.
        adapter: Folder of an adapter for it.
        out: Does not exist yet. After an error nothing is left of it.

    Raises:
        ModelNotFound, CheckpointError, DownloadError, MissingExtra; UsageError, for a full disk and an existing folder, too.
    """
    try:
        from molmo_point.model.merge import merge_adapter
    except ImportError as error:
        raise import_failure(error, "torch", "engine", "Merging an adapter") from error
    from molmo_point.checkpoints.folder import read_json
    from molmo_point.checkpoints.hub import resolve
    from molmo_point.checkpoints.low_bit_format import stored_scheme

    folder = resolve(name)
    stored = stored_scheme(read_json(folder / "config.json"))
    if stored is not None:
        raise UsageError(
            f"{folder} holds {stored} weights, to which no adapter can be added: give the original checkpoint"
        )
    return merge_adapter(folder, Path(adapter), Path(out))


def connect(url: str, **options: Any) -> Pointer:
    """Connect to a pointing server: "tcp://gpu:5555" (ZMQ) or "http://gpu:8000"; the same interface as a local model.

    "openai+http://gpu:8000/v1" is a model of another engine (vLLM, SGLang, llama.cpp, LM Studio, Ollama) behind OpenAI's chat
    completions.

    Args:
        options: See `molmo_point.client.connect`; for openai+http(s), see `molmo_point.vlm.OpenAIPointer`.

    Raises:
        UsageError: Not a URL of this form.
        ServerGone, Refused, VersionMismatch: No server answers there, or it refuses this client.
    """
    from molmo_point import client
    from molmo_point.client.address import scheme_of
    from molmo_point.defaults import OPENAI

    if scheme_of(url).startswith(OPENAI):
        from molmo_point.vlm import OpenAIPointer

        return client.connect_as(OpenAIPointer, url, options)
    return client.connect(url, **options)


def open_pointer(name: str) -> Pointer:
    """Return `connect(name)` for a URL, `load(name)` for a model or a folder."""
    return connect(name) if "://" in name else load(name)
