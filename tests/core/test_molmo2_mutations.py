"""Plausible mistakes with Molmo 2, each made on purpose: the golden numbers must notice every one of them.

The list is that of tests/golden/molmo2/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.images import load_image
from molmo_point.model import connector, decoder, vision
from molmo_point.model.layers import block_mask
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.preprocess import bilinear, windows
from molmo_point.preprocess.resize import resize
from molmo_point.preprocess.windows import crop_stretched

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
TOLERANCE = 1e-4
PATCH = {"tiny2-q": 514, "tiny2-o": 392}
Patch = pytest.MonkeyPatch


@dataclass
class Run:
    """One golden case as a mistake may change it.

    Attributes:
        ids: [T]; in_block: [T] bool; crops, windows: what vision tower and connector take.
        mask: None = by `in_block`.
    """

    config: MolmoConfig
    ids: Tensor
    in_block: Tensor
    crops: Tensor
    windows: Tensor
    mask: Tensor | None = None


def golden_run(name: str, case: str) -> Run:
    golden = np.load(GOLDEN / f"models/{name}/golden.npz")
    config = MolmoConfig.from_folder(GOLDEN / "models" / name)
    if case == "multi":
        pixels = np.load(GOLDEN / f"models/shared_pixels_{case}.npz")["images_u8"]
        crops = torch.from_numpy((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5))
        pooling = torch.tensor(golden[f"{case}/token_pooling"])
    else:
        cut = crop_stretched(load_image(GOLDEN / f"images/{case}.png"), config.preprocess)
        crops, pooling = torch.from_numpy(cut.crops), torch.from_numpy(cut.windows)
    ids, in_block = (torch.tensor(golden[f"{case}/{key}"]) for key in ("input_ids", "image_mask"))
    return Run(config, ids, in_block.bool(), crops, pooling)


@torch.inference_mode()
def logit_error(name: str, case: str, change: Callable[[Run], None]) -> float:
    """Largest difference to the golden logits."""
    run = golden_run(name, case)
    change(run)
    model = load_weights(GOLDEN / "models" / name, run.config)
    features = model.encode_images(run.crops, run.windows)
    index = (run.ids == PATCH[name]).nonzero()[:, 0]
    x = model.embed(run.ids[None], features[None], index[None])
    mask = block_mask(run.in_block) if run.mask is None else run.mask
    logits = model(x, torch.arange(len(run.ids))[None], mask=mask)[0, -8:]
    golden = np.load(GOLDEN / f"models/{name}/golden.npz")[f"{case}/logits_last8"]
    return float(np.abs(logits.numpy() - golden).max())


def nothing(run: Run) -> None:
    pass


def causal(run: Run) -> None:
    run.in_block = torch.zeros_like(run.in_block)


def only_patches_see_each_other(run: Run) -> None:
    run.in_block = (run.ids == 514) | (run.ids == 392)


def begin_token_sees_the_image(run: Run) -> None:
    run.in_block = run.in_block.clone()
    run.in_block[0] = True


def each_image_by_itself(run: Run) -> None:
    places = run.in_block.nonzero()[:, 0]
    gap = int((places[1:] - places[:-1]).argmax())
    first, second = run.in_block.clone(), run.in_block.clone()
    first[places[gap + 1] :], second[: places[gap + 1]] = False, False
    run.mask = block_mask(first) | block_mask(second)


def swapped_layers(run: Run) -> None:
    layers = run.config.vision.feature_layers[::-1]
    run.config = replace(run.config, vision=replace(run.config.vision, feature_layers=layers))


def decoder_change(run: Run, **changes: object) -> None:
    run.config = replace(run.config, decoder=replace(run.config.decoder, **changes))  # type: ignore[arg-type]


def no_yarn(run: Run) -> None:
    decoder_change(run, yarn=None, yarn_layers=())


def yarn_on_the_other_layers(run: Run) -> None:
    decoder_change(run, yarn_layers=(0, 2, 4))


def another_rotary_base(run: Run) -> None:
    decoder_change(run, rope_theta=1e6)


def windows_of_single_crops(run: Run) -> None:
    """The windows of each crop that the first generation would make: they do not straddle crops."""
    run.windows = run.windows.clone()
    high = run.windows[196:]
    crop = high.amax(1, keepdim=True) // 729
    run.windows[196:] = torch.where(high // 729 == crop, high, -1)


CHANGES: list[tuple[str, str, Callable[[Run], None]]] = [
    *(
        (name, "img2_300x820", change)
        for name in PATCH
        for change in (causal, only_patches_see_each_other)
    ),
    *(
        (name, "img2_300x820", change)
        for name in PATCH
        for change in (begin_token_sees_the_image, swapped_layers)
    ),
    *((name, "multi", each_image_by_itself) for name in PATCH),
    ("tiny2-o", "img2_300x820", no_yarn),
    ("tiny2-o", "img2_300x820", yarn_on_the_other_layers),
    ("tiny2-q", "img2_300x820", another_rotary_base),
    ("tiny2-q", "img2_300x820", windows_of_single_crops),
]


@pytest.mark.parametrize(
    ("name", "case", "change"),
    CHANGES,
    ids=[f"{name}-{change.__name__}" for name, _, change in CHANGES],
)
def test_a_mistake_in_what_the_network_is_told(
    name: str, case: str, change: Callable[[Run], None]
) -> None:
    assert logit_error(name, case, change) > 10 * TOLERANCE


def unmasked_pooling(patch: Patch) -> None:
    original = connector.Connector._attend

    def attend(
        self: connector.Connector, mean: Tensor, parts: Tensor, used: Tensor | None = None
    ) -> Tensor:
        return original(self, parts.mean(1, keepdim=True), parts, None)

    patch.setattr(connector.Connector, "_attend", attend)


def no_norm_of_queries_and_keys(patch: Patch) -> None:
    patch.setattr(decoder.Attention, "_normed", lambda self, q, k: (q, k))


def swapped_gate(patch: Patch) -> None:
    def forward(self: decoder.FeedForward, x: Tensor) -> Tensor:
        gate, up = self.up_gate(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)

    patch.setattr(decoder.FeedForward, "forward", forward)


def replaced_features(patch: Patch) -> None:
    original = Molmo.embed

    def embed(self: Molmo, ids: Tensor, features: Tensor, index: Tensor) -> Tensor:
        x = original(self, ids)
        x[0, index[0]] = features[0].to(x.dtype)
        return x

    patch.setattr(Molmo, "embed", embed)


def padded_instead_of_stretched(patch: Patch) -> None:
    def letterbox(image: np.ndarray, width: int, height: int) -> np.ndarray:
        scale = min(width / image.shape[1], height / image.shape[0])
        size = int(image.shape[1] * scale), int(image.shape[0] * scale)
        out = np.zeros((height, width, 3), np.uint8)
        out[: size[1], : size[0]] = bilinear.stretch(image, *size)
        return out

    patch.setattr(windows, "stretch", letterbox)


def antialiased(patch: Patch) -> None:
    def smooth(image: np.ndarray, width: int, height: int) -> np.ndarray:
        return np.rint(resize(image, width, height) * 255).clip(0, 255).astype(np.uint8)

    patch.setattr(windows, "stretch", smooth)


def padding_before_and_not_behind(patch: Patch) -> None:
    def cut(numbers: np.ndarray, pool: int) -> np.ndarray:
        padded = np.pad(numbers, [(-side % pool, 0) for side in numbers.shape], constant_values=-1)
        rows, columns = (side // pool for side in padded.shape)
        parts = padded.reshape(rows, pool, columns, pool).transpose(0, 2, 1, 3)
        return parts.reshape(rows, columns, -1).astype(np.int32)

    patch.setattr(windows, "_windows", cut)


@pytest.mark.parametrize(
    "mistake",
    [
        unmasked_pooling,
        no_norm_of_queries_and_keys,
        swapped_gate,
        replaced_features,
        padded_instead_of_stretched,
        antialiased,
        padding_before_and_not_behind,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_a_mistake_in_the_code(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    assert logit_error("tiny2-q", "img2_300x820", nothing) > 10 * TOLERANCE


@pytest.mark.parametrize("name", PATCH)
def test_without_a_mistake_nothing_differs(name: str) -> None:
    assert logit_error(name, "img2_300x820", nothing) < TOLERANCE


@torch.inference_mode()
def test_exact_gelu_shows_in_the_vision_tower(monkeypatch: Patch) -> None:
    run = golden_run("tiny2-q", "img0_336x336")
    model = load_weights(GOLDEN / "models/tiny2-q", run.config)
    golden = np.load(GOLDEN / "models/tiny2-q/golden.npz")["img0_336x336/vit_slice"]

    def error() -> float:
        return float(np.abs(model.vision(run.crops)[:, ::27, ::4].numpy() - golden).max())

    assert error() < 5e-5
    exact = F.gelu
    monkeypatch.setattr(vision.F, "gelu", lambda x, approximate: exact(x))
    assert error() > 5e-4


def test_scaling_without_rounding_shows_in_the_pixels(monkeypatch: Patch) -> None:
    """A hundredth of a logit: the bytes say it more clearly."""
    monkeypatch.setattr(np, "rint", lambda values: values)
    image = load_image(GOLDEN / "images/img1_640x480.png")
    config = MolmoConfig.from_folder(GOLDEN / "models/tiny2-q").preprocess
    pixels = (crop_stretched(image, config).crops * 0.5 + 0.5) * 255
    golden = np.load(GOLDEN / "models/shared_pixels_img1_640x480.npz")["images_u8"]
    assert (np.round(pixels) != golden).mean() > 0.1
