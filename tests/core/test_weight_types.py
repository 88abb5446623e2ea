"""What dtype="auto" means on which processor, what does not fit into memory, and vision in bfloat16 with a float32 decoder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import molmo_point as mp
from molmo_point import machine_memory
from molmo_point.checkpoints.catalog import NANO_FOLDER, find
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.model import vision_attention, weight_types
from molmo_point.model.vision_attention import attend
from molmo_point.model.weight_types import (
    BFLOAT16,
    FLOAT32,
    WeightTypes,
    choose_types,
    weight_bytes,
)

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
NANO = MolmoConfig.from_folder(NANO_FOLDER)
MIXED = WeightTypes(torch.float32, torch.bfloat16)


def config(name: str) -> MolmoConfig:
    entry = find(name)
    assert entry is not None
    assert entry.config is not None
    return entry.config


@pytest.fixture(autouse=True)
def auto_is_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(weight_types.VARIABLE, raising=False)


def machine(
    monkeypatch: pytest.MonkeyPatch, *, bfloat16: bool, gigabytes: float | None = None
) -> None:
    free = None if gigabytes is None else int(gigabytes * 1e9)
    monkeypatch.setattr(weight_types, "computes_in_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(weight_types, "available_bytes", lambda: free)


def test_auto_by_processor_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, bfloat16=True)
    assert choose_types("auto", CPU, NANO) == MIXED
    assert choose_types("auto", CPU, config("molmoe-1b")) == BFLOAT16
    assert choose_types("auto", CPU, config("molmo-7b-d"), "int4") == BFLOAT16
    machine(monkeypatch, bfloat16=False)
    for sizes in (NANO, config("molmo-7b-d")):
        assert choose_types("auto", CPU, sizes) == FLOAT32
    assert choose_types("auto", CUDA, NANO) == BFLOAT16
    assert choose_types("auto", MPS, NANO) == FLOAT32
    half = WeightTypes(torch.float16, torch.float16)
    assert choose_types("float16", CPU, NANO) == half


def test_the_environment_says_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, bfloat16=True)
    monkeypatch.setenv(weight_types.VARIABLE, "float32")
    assert choose_types("auto", CPU, config("molmo-7b-d")) == FLOAT32
    assert choose_types("bfloat16", CPU, NANO) == BFLOAT16
    monkeypatch.setenv(weight_types.VARIABLE, "int8")
    with pytest.raises(UsageError, match=r"MOLMO_POINT_DTYPE.*float32.*'int8'"):
        choose_types("auto", CPU, NANO)


def test_what_does_not_fit_names_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = config("molmo-7b-d")
    machine(monkeypatch, bfloat16=True, gigabytes=12)
    with pytest.raises(
        ModelFailed, match=r"17\.\d GB in bfloat16, 12\.0 GB are free.*'int8'.*'int4'"
    ):
        choose_types("auto", CPU, sizes)
    assert choose_types("auto", CPU, sizes, "int8") == BFLOAT16
    machine(monkeypatch, bfloat16=True, gigabytes=8)
    with pytest.raises(ModelFailed) as raised:
        choose_types("auto", CPU, sizes, "int8")
    assert "'int4'" in str(raised.value)
    assert "'int8' (" not in str(raised.value)
    machine(monkeypatch, bfloat16=True, gigabytes=2)
    with pytest.raises(ModelFailed, match="no type fits: take a smaller model"):
        choose_types("bfloat16", CPU, sizes)
    assert choose_types("auto", CPU, sizes, shards=8) == BFLOAT16


def test_float32_that_does_not_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, bfloat16=False, gigabytes=20)
    with caplog.at_level(logging.WARNING):
        assert choose_types("auto", CPU, config("molmo-7b-d")) == BFLOAT16
    assert "float32 takes 3" in caplog.text
    with pytest.raises(ModelFailed, match="dtype='bfloat16'"):
        choose_types("float32", CPU, config("molmo-7b-d"))


def test_bytes_of_weights() -> None:
    """As the issue of low bits computed them, and as the catalogue says."""
    assert weight_bytes(config("molmo-7b-d"), BFLOAT16) == pytest.approx(16.0e9, rel=0.01)
    assert weight_bytes(config("molmoe-1b"), BFLOAT16, "int8") == pytest.approx(7.6e9, rel=0.02)
    assert weight_bytes(config("molmoe-1b"), BFLOAT16, "int4") == pytest.approx(4.4e9, rel=0.05)


def test_free_memory_is_the_containers_where_that_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(machine_memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(machine_memory, "_CGROUPS", (tmp_path / "memory.max",))
    assert machine_memory.available_bytes() == 8000 * 1024
    for name, text in (
        ("memory.max", "5000000"),
        ("memory.current", "4000000"),
        ("memory.stat", "anon 3000000\ninactive_file 700000\n"),
    ):
        (tmp_path / name).write_text(text)
    assert machine_memory.available_bytes() == 1_700_000
    meminfo.unlink()
    assert machine_memory.available_bytes() is None


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("size", [(3, 4, 197, 32), (1, 2, 50, 72)])
def test_attention_by_crops(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, ...], *, amx: bool
) -> None:
    """Both ways are the same attention, to within the rounding of bfloat16."""
    monkeypatch.setattr(vision_attention, "computes_in_bfloat16", lambda: True)
    monkeypatch.setattr(vision_attention, "has_amx", lambda: amx)
    ways: list[int] = []
    crop = vision_attention._attend_crop
    monkeypatch.setattr(vision_attention, "_attend_crop", lambda *x: ways.append(1) or crop(*x))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(size, generator=generator) for _ in range(3))
    expected = F.scaled_dot_product_attention(q, k, v)
    assert torch.equal(attend(q, k, v), expected)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
    assert bool(ways) != (amx and size[-1] == 32)


def test_vision_in_bfloat16_beside_a_float32_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nano` under "auto" on such a processor: features near those of float32, the same star, float32 keys and values."""
    monkeypatch.setattr(weight_types, "computes_in_bfloat16", lambda: True)
    monkeypatch.setattr(vision_attention, "computes_in_bfloat16", lambda: True)
    mixed, plain = mp.load("nano", device="cpu"), mp.load("nano", device="cpu", dtype="float32")
    assert (mixed.network.dtype, mixed.network.vision_dtype) == (torch.float32, torch.bfloat16)
    assert mixed.network.connector.down.weight.dtype is torch.bfloat16
    image = NANO_FOLDER / "demo.png"
    one, other = (pointer.point(image, "star") for pointer in (mixed, plain))
    assert len(one.points) == len(other.points) > 0
    for a, b in zip(one.points, other.points, strict=True):
        assert np.hypot(a.x - b.x, a.y - b.y) < 0.02
    encoded, _ = mixed.engine.encode(image)
    assert encoded.cache.keys.dtype is torch.float32
