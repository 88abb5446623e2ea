"""What only a CUDA device can show: the same answers there. Run with `pytest -m gpu` on such a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import molmo_point as mp
from molmo_point.engine.verify import verify_folder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
MODELS = Path(__file__).parents[1] / "golden" / "models"
IMAGE = MODELS.parent / "images" / "img1_640x480.png"


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_golden_numbers_on_the_device(name: str, dtype: torch.dtype) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    reports = list(verify_folder(MODELS / name, device="cuda", dtype=dtype))
    if dtype is torch.float32:
        assert all(report.passed for report in reports)
    else:
        assert sum(report.argmax_agreement for report in reports) / len(reports) >= 0.9


@pytest.mark.parametrize("name", ["tiny-d", "tiny-moe"])
def test_batched_answers_on_the_device_are_the_single_ones(name: str) -> None:
    pointer = mp.load(MODELS / name, device="cuda", dtype="float32", max_new_tokens=40)
    requests = [(IMAGE, f"thing {number}") for number in range(9)]
    single = [pointer.point(*request).text for request in requests]
    assert [answer.text for answer in pointer.point_many(requests)] == single


def test_nano_points_on_the_device_as_on_the_cpu() -> None:
    demo = Path(mp.__file__).parent / "nano" / "demo.png"
    answers = [
        mp.load("nano", device=device, dtype="float32").point(demo, "star")
        for device in ("cpu", "cuda")
    ]
    assert answers[0].text == answers[1].text


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recorded_passes_answer_as_plain_ones(name: str, dtype: str) -> None:
    options = {"device": "cuda", "dtype": dtype, "max_new_tokens": 40, "drafts": False}
    plain = mp.load(MODELS / name, **options)
    recorded = mp.load(MODELS / name, cuda_graphs=True, **options)
    for _ in range(2):
        for number in range(3):
            asked = (IMAGE, f"thing {number}")
            assert recorded.point(*asked).text == plain.point(*asked).text
