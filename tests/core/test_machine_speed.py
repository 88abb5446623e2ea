"""What a network would take on this machine: from its sizes and two measured numbers of each kind of weights."""

from __future__ import annotations

import json

import pytest
import torch

from molmo_point import machine_memory
from molmo_point.checkpoints.catalog import CATALOG, find
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.cli import main
from molmo_point.model import machine_speed
from molmo_point.model.machine_speed import (
    FEW,
    KINDS,
    PASSES,
    REST_OF_VISION,
    ProductSpeed,
    _touched,
    expected_time,
    measure_bandwidth,
    measure_products,
)
from molmo_point.model.molmo import Molmo


def config(name: str) -> MolmoConfig:
    entry = find(name)
    assert entry is not None
    assert entry.config is not None
    return entry.config


def test_products_of_every_kind_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speed, "_SHAPE", (128, 256))
    for kind in KINDS:
        speed = measure_products(kind)
        assert speed.few_s > 0
        assert speed.operations == pytest.approx(2 / speed.many_s)
    assert measure_bandwidth() > 0


def test_times_follow_from_the_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """7B-D: 28 layers of 3584 x (4608 + 3584) and 3 x 3584 x 18944; of ViT-L 22 blocks are used, of 12 x 1024^2."""
    monkeypatch.setattr(machine_speed, "computes_in_bfloat16", lambda: True)
    speeds = {kind: ProductSpeed(1e-10, 1e-12) for kind in KINDS}
    speeds["int4"] = ProductSpeed(1e-11, 3e-12)
    sizes = config("molmo-7b-d")
    blocks = 28 * (3584 * (4608 + 3584) + 3 * 3584 * 18944)
    seen = 22 * 12 * 1024**2 * 13 * 576 * 1e-12 * REST_OF_VISION
    tokens = sizes.preprocess.most_image_tokens
    plain, low = (expected_time(sizes, kind, speeds) for kind in ("bfloat16", "int4"))
    assert plain.image_s == pytest.approx(seen + blocks * tokens * 1e-12, rel=1e-3)
    assert low.image_s == pytest.approx(seen + blocks * tokens * 3e-12, rel=1e-3)
    head = 152064 * 3584 * 1e-10
    assert plain.point_s == pytest.approx(PASSES * (blocks * 1e-10 + head), rel=1e-3)
    assert low.point_s == pytest.approx(PASSES * (blocks * 1e-11 + head), rel=1e-3)


def test_a_mixture_reads_the_experts_that_its_tokens_take() -> None:
    with torch.device("meta"):
        model = Molmo(config("molmoe-1b"))
    experts = 16 * 64 * 3 * 2048 * 1024
    rest = _touched(model, 1) - experts / 8
    assert 0 < rest < experts / 8
    assert _touched(model, FEW) == pytest.approx(rest + experts * (1 - (7 / 8) ** FEW))
    assert _touched(model, 10_000) == pytest.approx(rest + experts)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine_memory, "available_bytes", lambda: 12_000_000_000)
    monkeypatch.setattr(machine_speed, "measure_bandwidth", lambda: 3e10)
    monkeypatch.setattr(machine_speed, "measure_products", lambda _: ProductSpeed(1e-10, 1e-12))
    monkeypatch.setattr(machine_speed, "computes_in_bfloat16", lambda: True)
    with pytest.raises(SystemExit):
        main(["models", "--fit", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(CATALOG) * len(KINDS)
    fitting = {(row["name"], row["kind"]) for row in rows if row["fits"]}
    assert {kind for name, kind in fitting if name == "molmo-7b-d"} == {"int8", "int4"}
    assert {kind for name, kind in fitting if name == "nano"} == set(KINDS)
    assert not [name for name, _ in fitting if name == "molmo-72b"]
    assert all(row["image_s"] > 0 for row in rows)
    with pytest.raises(SystemExit):
        main(["models", "--fit"])
    out = capsys.readouterr().out
    assert "reads 30 GB/s, 2000 GFLOP/s in float32" in out
    assert "free memory: 12.0 GB" in out
