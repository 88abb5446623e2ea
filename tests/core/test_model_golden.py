"""The network against the reference implementation, on all four families, loaded through our own checkpoint loader.

Tolerances are those of tests/golden/README.md, with the reference's own pixels: features 5e-5, logits 3e-4, tokens exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.images import load_image
from molmo_point.model.mixture import MixtureOfExperts
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.preprocess.crops import crop_image

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("tiny-d", "tiny-o", "tiny-moe", "tiny-72b")
CASES = ("text", "img0_336x336", "img1_640x480", "img2_300x820")


@dataclass
class Loaded:
    model: Molmo
    golden: Any


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Loaded:
    folder = GOLDEN / "models" / request.param
    model = load_weights(folder, MolmoConfig.from_folder(folder))
    return Loaded(model, np.load(folder / "golden.npz"))


def pixels(case: str, model: Molmo) -> torch.Tensor:
    if case == "img0_336x336":
        image = load_image(GOLDEN / "images/img0_336x336.png")
        return torch.from_numpy(crop_image(image, model.config.preprocess).crops)
    return torch.from_numpy(np.load(GOLDEN / f"models/shared_pixels_{case}.npz")["images"])


@torch.inference_mode()
def run(loaded: Loaded, case: str) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Return features, embeddings and logits of a case."""
    model, golden = loaded.model, loaded.golden
    ids = torch.tensor(golden[f"{case}/input_ids"])[None]
    features = index = None
    if case != "text":
        masks = torch.tensor(golden[f"{case}/image_masks"])
        features = model.encode_images(pixels(case, model), masks)
        index = torch.tensor(golden[f"{case}/image_input_idx"])[None]
    x = model.embed(ids, None if features is None else features[None], index)
    return features, x, model(x, torch.arange(ids.shape[1])[None])[0].float()


@contextmanager
def router_ties(model: Molmo) -> Iterator[list[torch.Tensor]]:
    """Collect, for each mixture layer, which tokens have two experts equal to within float32's rounding.

    Which of the two is taken depends on the processor's matrix product; the reference took one of them.
    """
    found: list[torch.Tensor] = []
    hooks = []
    for block in model.decoder.blocks:
        ffn = block.ffn
        if isinstance(ffn, MixtureOfExperts):

            def note(_: Any, __: Any, scores: torch.Tensor, chosen: int = ffn.chosen) -> None:
                top = scores.softmax(-1, dtype=torch.float32).topk(chosen + 1).values
                found.append(top[:, chosen - 1] - top[:, chosen] < 1e-6)

            hooks.append(ffn.router.register_forward_hook(note))
    yield found
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("case", CASES)
def test_float32_reproduces_every_number(family: Loaded, case: str) -> None:
    with router_ties(family.model) as ties:
        features, _, logits = run(family, case)
    sure = ~torch.stack(ties).any(0).numpy() if ties else np.ones(len(logits), bool)
    assert sure.mean() > 0.99
    golden = {
        key: family.golden[f"{case}/{key}"]
        for key in ("logits_last8", "argmax_all", "logsumexp_all")
    }
    if features is not None:
        ours = features.numpy()
        np.testing.assert_allclose(
            ours[:, ::11, :24], family.golden[f"{case}/features_slice"], atol=5e-5, rtol=0
        )
        stats = np.stack([ours.mean((1, 2)), ours.std((1, 2)), np.abs(ours).sum((1, 2))], 1)
        np.testing.assert_allclose(
            stats, family.golden[f"{case}/features_stats"][:, :3], rtol=2e-4, atol=1e-5
        )
    if case == "img0_336x336":
        np.testing.assert_allclose(ours, family.golden[f"{case}/features_full"], atol=5e-5, rtol=0)
    last = sure[-8:]
    np.testing.assert_allclose(
        logits[-8:].numpy()[last], golden["logits_last8"][last], atol=3e-4, rtol=0
    )
    np.testing.assert_allclose(
        logits.logsumexp(-1).numpy()[sure], golden["logsumexp_all"][sure], atol=3e-4, rtol=0
    )
    top = logits.topk(2).values
    clear = (top[:, 0] - top[:, 1] > 1e-3).numpy() & sure
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(logits.argmax(-1).numpy()[clear], golden["argmax_all"][clear])


@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens_are_exact(family: Loaded, case: str) -> None:
    model = family.model
    _, x, _ = run(family, case)
    length = x.shape[1]
    with torch.inference_mode():
        cache = model.decoder.allocate_cache(length + 24)
        hidden = model.decoder(x, torch.arange(length)[None], cache=cache)
        cache.keep(range(length))
        first = int(model.decoder.logits(hidden[:, -1]).argmax())
    decoding = DecodeState([first], stop=-1, limits=Limits(23), drafter=NoDraft())
    steps = list(generate(model, cache, decoding))
    tokens = [first, *(token for step in steps for token in step.tokens)]
    assert tokens == family.golden[f"{case}/greedy24"].tolist()
    logits = torch.cat([step.logits for step in steps]).numpy()
    np.testing.assert_allclose(
        logits, family.golden[f"{case}/greedy_logits"][1:], atol=3e-4, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_agrees_on_nine_of_ten(name: str, dtype: torch.dtype) -> None:
    folder = GOLDEN / "models" / name
    model = load_weights(folder, MolmoConfig.from_folder(folder), dtype=dtype)
    loaded = Loaded(model, np.load(folder / "golden.npz"))
    equal = total = 0
    for case in CASES:
        _, _, logits = run(loaded, case)
        assert logits.isfinite().all()
        equal += int((logits.argmax(-1).numpy() == loaded.golden[f"{case}/argmax_all"]).sum())
        total += len(logits)
    assert equal / total >= 0.9
