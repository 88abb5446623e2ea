"""A name or a folder to a model that transformers implements, with its processor. No remote code, no pickles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import molmo_point.hf  # noqa: F401 - registers the first Molmo models; refuses an old transformers
from molmo_point.checkpoints.catalog import NANO_FOLDER, find
from molmo_point.checkpoints.hub_errors import explained
from molmo_point.engine.failures import is_out_of_memory, out_of_memory
from molmo_point.errors import CheckpointError, ModelNotFound, UsageError
from molmo_point.install import missing
from molmo_point.transformers_backend.pointer import TransformersPointer
from molmo_point.vlm.formats import PointFormat, format_for


def load(
    name: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    markup: str | None = None,
    max_new_tokens: int = 1024,
) -> TransformersPointer:
    """Load a vision-language model through transformers.

    Args:
        name: A folder, a hub repository "owner/name", or a name of `molmo-point models`.
        markup: How it writes points, a name of `molmo_point.vlm.FORMATS`; None decides by its name, else by its type.
        max_new_tokens: Of an answer.

    Raises:
        ModelNotFound, DownloadError: There is no such model, or it cannot be fetched.
        CheckpointError: transformers has no such model of its own, or the checkpoint is damaged or not in safetensors.
        MissingExtra: Its processor needs torchvision.
        UsageError: It is not known how the model writes points.
        ModelFailed: It does not fit into memory.
    """
    if isinstance(max_new_tokens, bool) or max_new_tokens < 1:
        raise UsageError(f"expected max_new_tokens of at least 1, got {max_new_tokens}")
    source = _source(name)
    config = _read(source, AutoConfig)
    if type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise CheckpointError(
            f"{name} is a {config.model_type}, which transformers {transformers.__version__} runs without images: "
            "expected a vision-language model"
        )
    label = Path(source).resolve().name if Path(source).is_dir() else str(name)
    form = _format(label, str(config.model_type), markup)
    processor = _read(source, AutoProcessor)
    if getattr(processor, "chat_template", None) is None:
        raise CheckpointError(f"{name} has no chat template: expected chat_template.jinja")
    model = _read(source, AutoModelForImageTextToText, dtype=dtype, use_safetensors=True)
    try:
        model = model.to(device).eval()
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(error) from error
        raise
    return TransformersPointer(
        model, processor, name=label, form=form, max_new_tokens=max_new_tokens
    )


def _source(name: str | Path) -> str:
    """Return what transformers loads: a folder or a hub repository.

    Raises:
        ModelNotFound: Neither.
    """
    entry = None if isinstance(name, Path) else find(name)
    if entry is not None:
        return str(NANO_FOLDER) if entry.hub_name is None else entry.hub_name
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise CheckpointError(f"{folder} has no config.json: expected a checkpoint's folder")
        return str(folder)
    if isinstance(name, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or folder.exists():
        raise ModelNotFound(
            f"there is no folder {str(name)!r}, and it is no hub repository (owner/name)"
        )
    return name


def _format(label: str, model_type: str, markup: str | None) -> PointFormat:
    """Return how a model writes points; a name that says nothing leaves it to the type in its config.json."""
    try:
        return format_for(label, markup)
    except UsageError:
        if markup is not None:
            raise
    try:
        return format_for(model_type, None)
    except UsageError as error:
        raise UsageError(f"{label} ({model_type}): {error}") from error


def _read(source: str, auto: Any, **options: Any) -> Any:
    """Call `from_pretrained` of an Auto class, without remote code.

    Raises:
        ModelNotFound, DownloadError, CheckpointError, MissingExtra, ModelFailed.
    """
    try:
        return auto.from_pretrained(source, trust_remote_code=False, **options)
    except ImportError as error:
        for package in ("torchvision", "PIL"):
            if package in str(error).lower():
                raise missing(package, "vision-language", f"The processor of {source}") from error
        raise
    except Exception as error:  # raised by transformers, huggingface_hub and safetensors
        if is_out_of_memory(error):
            raise out_of_memory(error) from error
        raise _explained(source, error) from error


_NOT_NATIVE = ("trust_remote_code", "custom code", "does not recognize this architecture")


def _explained(source: str, error: Exception) -> Exception:
    """Return the error of this package for one of transformers."""
    said = " ".join(str(error).split())[:300]
    if any(sign in str(error) for sign in _NOT_NATIVE):
        return CheckpointError(
            f"transformers {transformers.__version__} has no implementation of {source} of its own, and code of a checkpoint is "
            f"never run ({said})"
        )
    if not Path(source).is_dir():
        cause = error.__cause__ or error
        known = explained(source, cause, f"the hub has no model {source!r}")
        if known is not cause:
            return known
    return CheckpointError(f"{source} cannot be loaded by transformers: {said}")
