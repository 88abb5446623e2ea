"""The kernels for one row and for several: the setting belongs to the process and must always be restored."""

from __future__ import annotations

import threading

import pytest
import torch

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model import cpu_kernel
from molmo_point.model.cpu_kernel import (
    FEWEST_ROWS,
    LARGE_WEIGHTS,
    Linear,
    MkldnnGuard,
    fastest_kernel,
    mkldnn,
    onednn_is_faster,
)
from molmo_point.model.decoder import Decoder

CONFIG = DecoderConfig(
    d_model=64,
    layers=2,
    heads=4,
    kv_heads=2,
    ffn_width=128,
    vocab_size=50,
    embedding_size=50,
    new_embedding_size=4,
)


def seen_during(rows: int, dtype: torch.dtype) -> bool:
    with fastest_kernel(torch.zeros(1, rows, 8), torch.zeros(8, dtype=dtype)):
        return bool(mkldnn.enabled)


def test_only_one_row_in_bfloat16_goes_without() -> None:
    assert seen_during(1, torch.bfloat16) is False
    assert seen_during(2, torch.bfloat16) is True
    assert seen_during(1, torch.float32) is True
    assert mkldnn.enabled


def test_it_comes_back_after_an_error_and_as_it_was() -> None:
    switch = MkldnnGuard()
    with pytest.raises(ZeroDivisionError), switch.off():
        raise ZeroDivisionError
    assert mkldnn.enabled
    mkldnn.enabled = False
    try:
        with switch.off():
            pass
        assert not mkldnn.enabled
    finally:
        mkldnn.enabled = True


def test_it_comes_back_when_the_last_of_several_threads_is_done() -> None:
    switch = MkldnnGuard()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with switch.off():
            inside.set()
            assert leave.wait(30)

    thread = threading.Thread(target=other)
    with switch.off():
        thread.start()
        assert inside.wait(30)
    assert not mkldnn.enabled
    leave.set()
    thread.join(30)
    assert mkldnn.enabled


def test_both_kernels_say_the_same() -> None:
    torch.manual_seed(0)
    decoder = Decoder(CONFIG).to(torch.bfloat16)
    x, positions = torch.randn(1, 1, 64), torch.tensor([[3]])
    with torch.inference_mode():
        one = decoder.logits(decoder(x, positions))
        two = decoder.logits(decoder(x.repeat(2, 1, 1), positions))
    assert mkldnn.enabled
    torch.testing.assert_close(one[0], two[0], atol=0.03, rtol=0.03)


@pytest.mark.parametrize("bias", [True, False])
def test_several_rows_of_large_float32_weights_take_the_other_kernel(
    monkeypatch: pytest.MonkeyPatch, bias: bool
) -> None:
    kernel, used = cpu_kernel._onednn_linear, []

    def noted(*arguments: object) -> object:
        used.append(arguments)
        return kernel(*arguments)

    monkeypatch.setattr(cpu_kernel, "_onednn_linear", noted)
    torch.manual_seed(0)
    layer = Linear(1024, LARGE_WEIGHTS // 1024, bias=bias)
    x = torch.randn(2, FEWEST_ROWS // 2, 1024)
    expected = torch.nn.functional.linear(
        x.double(), layer.weight.double(), layer.bias.double() if bias else None
    )
    with torch.inference_mode():
        product = layer(x)
    assert len(used) == 1
    torch.testing.assert_close(product, expected.float(), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_other_products_take_the_usual_kernel() -> None:
    weight, x = torch.zeros(LARGE_WEIGHTS // 1024, 1024), torch.zeros(FEWEST_ROWS, 1024)
    assert onednn_is_faster(x, weight)
    assert not onednn_is_faster(x[:-1], weight)
    assert not onednn_is_faster(x, weight[:-1])
    assert not onednn_is_faster(x.bfloat16(), weight.bfloat16())
    with torch.inference_mode(False), torch.enable_grad():
        assert not onednn_is_faster(x, weight)


def test_gradients_flow_through_a_large_layer() -> None:
    layer = Linear(1024, LARGE_WEIGHTS // 1024, bias=False)
    layer(torch.ones(FEWEST_ROWS, 1024)).sum().backward()
    assert layer.weight.grad is not None
