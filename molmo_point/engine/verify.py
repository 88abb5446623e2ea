"""Recompute a golden folder: compare numbers of a reference implementation with ours (`molmo-point verify`).

A golden folder is a checkpoint folder with `golden.json` and `golden.npz`. Each case has token ids, image embeddings, logits of
the last positions, the most likely token at each position, and a greedy continuation. Images are searched in the folder itself
and in `images/` up to two folders above.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.errors import CheckpointError
from molmo_point.images import load_image
from molmo_point.model.devices import find_device
from molmo_point.model.layers import block_mask
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.preprocess.crops import cut_image
from molmo_point.preprocess.inputs import Prefix, image_prefix, text_prefix
from molmo_point.preprocess.prompt import prompt_tokens
from molmo_point.preprocess.tokenizer import Tokenizer

FEATURE_TOLERANCE = 2e-3
"""With our own resampler, whose pixels differ by up to 1e-4 (with the reference's pixels 5e-5 holds, see the tests)."""
LOGIT_TOLERANCE = 1e-2
CLEAR_MARGIN = 1e-3
"""Where the two best logits are closer than this, rounding decides which is larger."""
LOW_PRECISION_MARGIN = 0.1
"""In 16 bits: where the two best logits are closer than this many standard deviations of all logits, rounding decides."""
LOW_PRECISION_MISSES = (0.05, 4)
"""Share of the other positions that may differ, and an additional number. Of the golden models' 27 to 537 positions 0 to 13
differ (at most 2.7 % and 3 of 33); with one matrix element changed by 4, which affects all positions, 16 to 126 differ."""


@dataclass(frozen=True)
class CaseReport:
    """Result of one case.

    Attributes:
        feature_error, logit_error: Largest absolute differences.
        argmax_agreement: Share of positions with the same most likely token, 0-1.
        greedy_equal: The continuation has the same tokens.
        ids_equal: Token ids and image positions are the same.
        tolerance: The allowed differences, in words.
        passed: Whether all differences are allowed.
    """

    name: str
    feature_error: float
    logit_error: float
    argmax_agreement: float
    greedy_equal: bool
    ids_equal: bool
    tolerance: str
    passed: bool


def verify_folder(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Iterator[CaseReport]:
    """Recompute every case of a golden folder.

    Raises:
        CheckpointError: No golden files, or no checkpoint in the folder.
    """
    try:
        cases = json.loads((folder / "golden.json").read_text())["cases"]
        golden = np.load(folder / "golden.npz", allow_pickle=False)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is not a golden folder: expected golden.json and golden.npz beside the checkpoint ({error})"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"the golden files in {folder} are damaged: {error!r}") from error
    target = find_device(device)
    config = MolmoConfig.from_folder(folder)
    tokenizer = Tokenizer(folder)
    model = load_weights(folder, config, device=target, dtype=dtype)
    for case in cases:
        if len(case.get("images", ())) > 1:
            continue  # Several images, or a video's frames, are not asked about at once.
        arrays = {
            key.split("/", 1)[1]: golden[key]
            for key in golden.files
            if key.startswith(case["name"] + "/")
        }
        yield _verify_case(model, tokenizer, folder, case, arrays)


@torch.inference_mode()
def _verify_case(
    model: Molmo,
    tokenizer: Tokenizer,
    folder: Path,
    case: dict[str, Any],
    golden: dict[str, np.ndarray[Any, Any]],
) -> CaseReport:
    prefix, features = _encode_image(model, tokenizer, folder, _image_name(case))
    prompt = prompt_tokens(tokenizer, case["prompt"])
    ids = np.concatenate([prefix.input_ids, np.array(prompt, np.int32)])
    ids_equal = np.array_equal(ids, golden["input_ids"])
    if features is not None and "image_input_idx" in golden:
        theirs, ours = golden["image_input_idx"], prefix.image_input_idx
        ids_equal &= np.array_equal(np.maximum(theirs, -1), np.maximum(ours, -1))
    index = None if features is None else torch.as_tensor(prefix.image_input_idx)[None]
    stacked = None if features is None else features[None]
    x = model.embed(torch.as_tensor(ids, device=model.device)[None], stacked, index)
    mask = _mask(model, len(prefix.input_ids), len(ids))
    positions = torch.arange(len(ids), device=model.device)[None]
    logits = model(x, positions, mask=mask)[0].float().cpu()
    feature_error = _feature_error(features, golden)
    last = golden["logits_last8"]
    logit_error = float(np.abs(logits[-len(last) :].numpy() - last).max())
    agreement = _agreement(logits, golden["argmax_all"])
    greedy = _continue(model, x, mask, len(golden["greedy24"]))
    greedy_equal = greedy == golden["greedy24"].tolist()
    if model.dtype is torch.float32:
        tolerance = f"features {FEATURE_TOLERANCE:g}, logits {LOGIT_TOLERANCE:g}, tokens equal"
        close = feature_error <= FEATURE_TOLERANCE and logit_error <= LOGIT_TOLERANCE
        passed = close and not agreement.clear_misses and greedy_equal and ids_equal
    else:
        share, more = LOW_PRECISION_MISSES
        tolerance = f"argmax agreement {1 - share} of the clear positions, less {more}"
        passed = agreement.strong_misses <= share * agreement.strong + more and ids_equal
    return CaseReport(
        name=case["name"],
        feature_error=feature_error,
        logit_error=logit_error,
        argmax_agreement=agreement.share,
        greedy_equal=greedy_equal,
        ids_equal=bool(ids_equal),
        tolerance=tolerance,
        passed=bool(passed),
    )


def _image_name(case: dict[str, Any]) -> str | None:
    """Return the name of a case's only image, None where it has none."""
    if "image" in case:
        name: str | None = case["image"]
        return name
    return next(iter(case["images"]), None)


def _mask(model: Molmo, prefix: int, length: int) -> Tensor | None:
    """Return what the tokens of a prefix with an image and of the prompt behind it see; None = causal."""
    if not model.config.decoder.image_block:
        return None
    places = torch.arange(length, device=model.device)
    return block_mask((places > 0) & (places < prefix))


def _encode_image(
    model: Molmo, tokenizer: Tokenizer, folder: Path, name: str | None
) -> tuple[Prefix, Tensor | None]:
    if name is None:
        return text_prefix(tokenizer.special), None
    folders = [
        folder,
        folder / "images",
        folder.parent / "images",
        folder.parent.parent / "images",
    ]
    found = [parent / name for parent in folders if (parent / name).exists()]
    if not found:
        raise CheckpointError(f"the image {name} of a golden case is in none of {folders}")
    config = model.config.preprocess
    # The reference's image processor ignores EXIF.
    cropped = cut_image(load_image(found[0], exif=False), config)
    features = model.encode_images(
        torch.from_numpy(cropped.crops), torch.from_numpy(cropped.pooling)
    )
    return image_prefix(cropped, config, tokenizer.special), features


def _feature_error(features: Tensor | None, golden: dict[str, np.ndarray[Any, Any]]) -> float:
    if features is None:
        return 0.0
    ours = features.float().cpu().numpy()
    chosen = ours[::7, :24] if ours.ndim == 2 else ours[:, ::11, :24]
    error = float(np.abs(chosen - golden["features_slice"]).max())
    if "features_full" in golden:
        error = max(error, float(np.abs(ours - golden["features_full"]).max()))
    return error


@dataclass(frozen=True)
class _Agreement:
    """Agreement of the most likely tokens.

    Attributes:
        share: Share of equal tokens, 0-1.
        clear_misses: Number of different tokens where float32 is precise enough to decide.
        strong, strong_misses: Number of positions where 16 bits are precise enough, and of different tokens among them.
    """

    share: float
    clear_misses: int
    strong: int
    strong_misses: int


def _agreement(logits: Tensor, golden: np.ndarray[Any, Any]) -> _Agreement:
    top = logits.topk(2, dim=-1)
    equal = top.indices[:, 0].numpy() == golden
    margin = (top.values[:, 0] - top.values[:, 1]).numpy()
    strong = margin > LOW_PRECISION_MARGIN * logits.std(-1).numpy()
    return _Agreement(
        share=float(equal.mean()),
        clear_misses=int((~equal[margin > CLEAR_MARGIN]).sum()),
        strong=int(strong.sum()),
        strong_misses=int((~equal[strong]).sum()),
    )


def _continue(model: Molmo, x: Tensor, mask: Tensor | None, count: int) -> list[int]:
    """Return a greedy continuation of `count` tokens; the end token does not stop it, as in the golden data."""
    length = x.shape[1]
    cache = model.decoder.allocate_cache(length + count)
    positions = torch.arange(length, device=x.device)[None]
    hidden = model.decoder(x, positions, mask=mask, cache=cache)
    cache.keep(range(length))
    first = int(model.decoder.logits(hidden[:, -1]).argmax())
    state = DecodeState([first], stop=-1, limits=Limits(count - 1), drafter=NoDraft())
    steps = generate(model, cache, state)
    return [first, *(token for step in steps for token in step.tokens)]
