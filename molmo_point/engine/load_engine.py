"""A checkpoint folder to an `Engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.config_files import generation_ends
from molmo_point.checkpoints.folder import read_json
from molmo_point.checkpoints.low_bit_format import stored_scheme
from molmo_point.counting.interval import read_count_calibration
from molmo_point.engine.engine import Engine
from molmo_point.engine.options import EngineOptions
from molmo_point.engine.score_calibration import read_calibration
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.model.adapter_folder import read_adapter
from molmo_point.model.low_bit_folder import check_stored_scheme, load_low_bits
from molmo_point.model.tensor_parallel import Shard, apply_tensor_parallel
from molmo_point.model.weights import Progress, load_weights
from molmo_point.model.weights_digest import weights_digest
from molmo_point.preprocess.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def load_engine(
    folder: Path,
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    vision_dtype: torch.dtype | None = None,
    options: EngineOptions | None = None,
    progress: Progress | None = None,
    mesh: DeviceMesh | None = None,
    scheme: str | None = None,
    adapter: str | Path | None = None,
) -> Engine:
    """Load a checkpoint folder, or with `mesh` this process's shard of it.

    Args:
        vision_dtype: Of the vision tower and the connector; None = `dtype`.
        scheme: Quantize the decoder while it is read; a folder of low-bit weights is loaded as it was written.
        adapter: Folder of a LoRA adapter, merged into the weights while they are read.

    Raises:
        CheckpointError: The folder is not a complete Molmo checkpoint.
        UsageError: The folder holds low-bit weights of another scheme, or those of a model that is to be split or adapted.
    """
    config = MolmoConfig.from_folder(folder)
    tokenizer = Tokenizer(folder)
    _check_vocabulary(config, tokenizer, folder)
    shard = None if mesh is None else Shard(mesh.get_local_rank(), mesh.size())
    stored = stored_scheme(read_json(folder / "config.json"))
    if stored is not None:
        if adapter is not None:
            raise UsageError(
                f"{folder} holds {stored} weights, to which no adapter can be added: give the original checkpoint, with "
                f"quantize={stored!r} if it is to have few bits"
            )
        check_stored_scheme(folder, stored, scheme, is_split=mesh is not None)
        model = load_low_bits(
            folder, config, stored, device=device, dtype=dtype, vision_dtype=vision_dtype
        )
    else:
        model = load_weights(
            folder,
            config,
            device=device,
            dtype=dtype,
            vision_dtype=vision_dtype,
            progress=progress,
            shard=shard,
            scheme=scheme,
            adapter=None if adapter is None else read_adapter(adapter),
        )
    if mesh is not None:
        model = apply_tensor_parallel(model, mesh)
    options = options or EngineOptions()
    calibration = counts = None
    # An adapted model has other scores than the one that the calibration was fitted to.
    if options.calibrated and adapter is None:
        calibration = read_calibration(folder, config.decoder.d_model, weights_digest(model))
        # Intervals are computed from calibrated scores.
        counts = read_count_calibration(folder) if calibration else None
    return Engine(
        model,
        tokenizer,
        name,
        options,
        calibration,
        counts=counts,
        shared=mesh is not None,
        ends=_further_ends(config, tokenizer, folder),
    )


def _further_ends(config: MolmoConfig, tokenizer: Tokenizer, folder: Path) -> frozenset[int]:
    """Return the ids that end an answer beside the tokenizer's: all that the files name, as generate() of transformers does."""
    return frozenset((*config.end_tokens, *generation_ends(folder))) - {tokenizer.special.end}


def _check_vocabulary(config: MolmoConfig, tokenizer: Tokenizer, folder: Path) -> None:
    """Refuse a tokenizer whose ids the network lacks, or whose end of text differs from config.json or generation_config.json."""
    sizes, special = config.decoder, tokenizer.special
    rows = sizes.embedding_size + sizes.new_embedding_size
    if config.points and (special.point is None or tokenizer.first_choice != rows):
        raise CheckpointError(
            f"the tokenizer in {folder} calls a first choice of patches {tokenizer.first_choice}, the network {rows}: they do "
            "not belong together"
        )
    if tokenizer.largest_id >= rows or special.end >= sizes.embedding_size:
        raise CheckpointError(
            f"the tokenizer in {folder} has ids up to {tokenizer.largest_id} and ends texts with {special.end}, the "
            f"network reads {rows} ids and writes {sizes.embedding_size}: they do not belong together"
        )
    named = {"config.json": config.end_tokens, "generation_config.json": generation_ends(folder)}
    for file, ends in named.items():
        if ends and special.end not in ends:
            raise CheckpointError(
                f"{file} in {folder} ends answers with eos_token_id = {list(ends)}, this network's do with "
                f"{special.end}: a model that was trained with another chat format cannot be run here"
            )
