"""Image tokens read with bfloat16 products by a decoder that stays float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import molmo_point as mp
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model import image_reader as reader_module
from molmo_point.model import weight_types
from molmo_point.model.image_reader import Bfloat16Product, image_reader
from molmo_point.model.molmo import Molmo
from molmo_point.model.weight_types import BFLOAT16, FLOAT32, WeightTypes, weight_bytes

MODELS = Path(__file__).parents[1] / "golden" / "models"
"""Their matrices are small: LARGE is lowered for them."""
IMAGE = NANO_FOLDER / "demo.png"


@pytest.fixture(autouse=True)
def every_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "LARGE", 0)


def network(name: str, dtype: torch.dtype, vision: torch.dtype) -> Molmo:
    torch.manual_seed(0)
    model = Molmo(MolmoConfig.from_folder(MODELS / name))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.to_types(dtype, vision)


@pytest.mark.parametrize("types", [FLOAT32, BFLOAT16, WeightTypes(torch.bfloat16, torch.float32)])
def test_other_types_read_with_their_own_decoder(types: WeightTypes) -> None:
    model = network("tiny-d", types.decoder, types.vision)
    assert image_reader(model) is model.decoder


@pytest.mark.parametrize("name", ["tiny-d", "tiny-72b", "tiny-o", "tiny-moe"])
def test_only_products_differ(name: str) -> None:
    """Keys and values are float32 and off by rounding; all but the copied matrices is the decoder's own memory."""
    model = network(name, torch.float32, torch.bfloat16)
    reader = image_reader(model)
    products = [m for m in reader.blocks.modules() if isinstance(m, Bfloat16Product)]
    linears = [
        module
        for name, module in model.decoder.blocks.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith("router")
    ]
    assert len(products) == len(linears) > 0
    own = {parameter.data_ptr() for parameter in model.decoder.parameters()}
    assert {parameter.data_ptr() for parameter in reader.parameters()} <= own
    x = torch.randn(1, 9, model.config.decoder.d_model)
    caches = []
    with torch.inference_mode():
        for decoder in (model.decoder, reader):
            cache = decoder.allocate_cache(9)
            decoder(x, torch.arange(9)[None], cache=cache, keys_only=True)
            caches.append(torch.stack([cache.keys, cache.values]))
    plain, rounded = caches
    assert rounded.dtype is torch.float32
    error = (rounded - plain).norm() / plain.norm()
    assert 1e-4 < error < 0.02


def test_an_opened_image_answers_as_a_fresh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(weight_types.VARIABLE, raising=False)
    monkeypatch.setattr(weight_types, "computes_in_bfloat16", lambda: True)
    pointer = mp.load("nano", device="cpu")
    assert any(isinstance(m, Bfloat16Product) for m in pointer.engine.encoder.reader.modules())
    fresh = pointer.point(IMAGE, "star")
    other = mp.load("nano", device="cpu")
    with other.open(IMAGE) as view:
        view.point("burgers")
        again = view.point("star")
    assert fresh.points
    assert again.points == fresh.points


def test_small_matrices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("tiny-d", torch.float32, torch.bfloat16)
    monkeypatch.setattr(reader_module, "LARGE", 2**18)
    assert image_reader(model) is model.decoder


def test_its_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = MolmoConfig.from_folder(NANO_FOLDER)
    linears = [m for m in Molmo(sizes).decoder.blocks.modules() if isinstance(m, nn.Linear)]
    copies = sum(parameter.numel() for linear in linears for parameter in linear.parameters())
    mixed = WeightTypes(torch.float32, torch.bfloat16)
    counted = weight_bytes(sizes, mixed)
    monkeypatch.setattr(reader_module, "LARGE", 2**18)
    assert counted == weight_bytes(sizes, mixed) + 2 * copies
