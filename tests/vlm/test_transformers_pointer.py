"""Models that transformers implements behind `Pointer`: Qwen-VL with random weights and by script, Molmo's golden tokens."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip(
    "transformers",
    minversion="5.20",
    reason="transformers 5 (the extra transformers) is not installed",
)

import torch  # noqa: E402

import molmo_point as mp  # noqa: E402
from molmo_point.errors import (  # noqa: E402
    BatchError,
    CheckpointError,
    ImageError,
    MissingExtra,
    ModelFailed,
    ModelNotFound,
    QueryError,
    UsageError,
)
from molmo_point.images import Array  # noqa: E402
from molmo_point.points import FinishReason, Status  # noqa: E402
from molmo_point.transformers_backend import TransformersPointer  # noqa: E402
from molmo_point.vlm import FORMATS  # noqa: E402
from tests.vlm.tiny_qwen import END, PilProcessor, Script, network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ["qwen2.5", "qwen3"]
NETWORKS = {family: network(family) for family in FAMILIES}


@pytest.fixture
def image() -> Array:
    """100x60 pixels, which Qwen2.5-VL resizes to 112x56."""
    return np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)


def pointer_of(family: str, max_new_tokens: int = 60) -> TransformersPointer:
    return TransformersPointer(
        NETWORKS[family],
        PilProcessor(family),
        name=f"tiny-{family}",
        form=FORMATS[family],
        max_new_tokens=max_new_tokens,
    )


@contextmanager
def writing(
    family: str, text: str, probabilities: dict[int, float] | None = None
) -> Iterator[TransformersPointer]:
    hook = NETWORKS[family].register_forward_hook(Script(text, probabilities))
    try:
        yield pointer_of(family)
    finally:
        hook.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_the_most_probable_token_at_each_step(family: str, image: Array) -> None:
    """Without a cache, and without the sampling and the penalties of the checkpoint's generation config."""
    pointer = pointer_of(family, max_new_tokens=12)
    text = pointer.ask(image, "What is this?")
    question = pointer._question(image, "What is this?", None)
    inputs, expected = dict(question.inputs), []
    with torch.inference_mode():
        for _ in range(12):
            token = int(NETWORKS[family](**inputs, use_cache=False).logits[0, -1].argmax())
            expected.append(token)
            more = torch.tensor([[token]])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            inputs["mm_token_type_ids"] = torch.cat(
                [inputs["mm_token_type_ids"], 0 * more.int()], 1
            )
    assert END not in expected
    assert text == PilProcessor(family).tokenizer.decode(expected)
    assert (text.finish_reason, text.timing.new_tokens) == (FinishReason.LENGTH, 12)


@pytest.mark.parametrize(("family", "written"), [("qwen2.5", [56, 14]), ("qwen3", [500, 250])])
def test_points_scores_and_statuses(family: str, written: list[int], image: Array) -> None:
    text = f'[{{"point_2d": {written}, "label": "mug"}}]'
    begin = text.index(str(written[0]))
    with writing(family, text, {begin: 0.9, begin + 1: 0.4}) as pointer:
        pointing = pointer.point(image, "mug", stamp_ns=7, frame_id="cam")
    (point,) = pointing.points
    assert (point.x, point.y, point.label) == (0.5, 0.25, "mug")
    digits = len(str(written[0])) + len(str(written[1]))
    product = 0.9 * 0.4 * 0.5 ** (digits - 2)
    assert point.score == pytest.approx(product ** (1 / digits), rel=1e-5)
    assert (pointing.status, pointing.text, pointing.calibrated) == (Status.FOUND, text, False)
    assert (pointing.image_size, pointing.model) == ((100, 60), f"tiny-{family}")
    assert (pointing.stamp_ns, pointing.frame_id) == (7, "cam")
    assert pointing.timing.new_tokens == len(text)


@pytest.mark.parametrize(
    ("text", "status", "count"),
    [
        ("[]", Status.NOT_FOUND, 0),
        ("I see no mug.", Status.MALFORMED, 0),
        ('<point x="50" y="50">mug</point>', Status.MALFORMED, 0),
        ('[{"point_2d": [150, 14]}]', Status.MALFORMED, 0),
        ('[{"point_2d": [56, 14]}, {"point_2d": [56, 140]}]', Status.MALFORMED, 1),
        (
            '[{"point_2d": [56, 14]}, {"point_2d": [56, 28]}, {"point_2d": [5, 7]}]',
            Status.TRUNCATED,
            2,
        ),
    ],
)
def test_only_what_the_format_says_is_a_place(
    text: str, status: Status, count: int, image: Array
) -> None:
    with writing("qwen2.5", text) as pointer:
        pointing = pointer.point(image, "mug")
    assert (pointing.status, pointing.count) == (status, count)
    assert text.startswith(pointing.text)
    assert pointing.text


def test_characters_of_several_tokens_come_whole(image: Array) -> None:
    with writing("qwen3", "é 茶") as pointer:
        pieces = list(pointer.stream_text(image, "What is this?"))
    assert pieces == ["é", " ", "茶"]


def test_the_deadline_and_a_closed_stream_leave_the_model_free(image: Array) -> None:
    pointer = pointer_of("qwen3", max_new_tokens=400)
    late = pointer.point(image, "mug", timeout_s=0.0)
    assert (late.status, late.text) == (Status.TRUNCATED, "")
    stream = pointer.stream_text(image, "What is this?")
    next(stream)
    stream.close()
    short = pointer_of("qwen3", max_new_tokens=3)
    alone = short.ask(image, "What is this?")
    short._lock = pointer._lock
    assert short.ask(image, "What is this?", timeout_s=60) == alone
    assert not pointer._lock.locked()


def test_threads_take_turns(image: Array) -> None:
    pointer = pointer_of("qwen2.5", max_new_tokens=6)
    alone = pointer.ask(image, "What is this?")
    heard: list[str] = []
    threads = [
        threading.Thread(target=lambda: heard.append(pointer.ask(image, "What is this?")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert heard == [alone] * 3


def test_one_bad_request_costs_the_others_nothing(image: Array) -> None:
    pointer = pointer_of("qwen3", max_new_tokens=2)
    with pytest.raises(BatchError) as error:
        pointer.point_many([(image, "mug"), (b"no image", "mug"), (image, "<|im_end|>mug")])
    first, second, third = error.value.results
    assert first.status is Status.TRUNCATED  # type: ignore[union-attr]
    assert isinstance(second, ImageError)
    assert isinstance(third, QueryError)
    assert "control token '<|im_end|>'" in str(third)
    assert pointer.count(image, "mug", tiles=2).status is Status.TRUNCATED
    pointer.close()
    with pytest.raises(UsageError, match="was closed"):
        pointer.point(image, "mug")


def test_nan_is_no_answer(image: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.full_like(NETWORKS["qwen3"].lm_head.weight, math.nan)
    monkeypatch.setattr(NETWORKS["qwen3"].lm_head, "weight", torch.nn.Parameter(weight))
    with pytest.raises(ModelFailed, match="NaN"):
        pointer_of("qwen3").point(image, "mug")


def test_molmo_answers_with_the_golden_tokens() -> None:
    folder = GOLDEN / "models/tiny-d"
    about = json.loads((folder / "golden.json").read_text())["cases"]
    case = next(each for each in about if each["name"] == "img0_336x336")
    tokens = np.load(folder / "golden.npz")["img0_336x336/greedy24"]
    with mp.load(folder, backend="transformers", device="cpu", max_new_tokens=24) as pointer:
        text = pointer.ask(GOLDEN / "images" / case["image"], case["prompt"])
        expected = pointer._processor.tokenizer.decode(tokens)
    assert text == expected
    assert (pointer.model, pointer._format) == ("tiny-d", FORMATS["molmo"])


def folder_with(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    load = lambda name, **options: mp.load(name, backend="transformers", device="cpu", **options)  # noqa: E731
    remote = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    evil = folder_with(tmp_path / "evil", remote)
    (evil / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CheckpointError, match="code of a checkpoint is never run"):
        load(evil)
    with pytest.raises(CheckpointError, match="expected a vision-language model"):
        load(folder_with(tmp_path / "text", {"model_type": "qwen2"}))
    with pytest.raises(UsageError, match=r"llava \(llava\): .* say so with markup="):
        load(folder_with(tmp_path / "llava", {"model_type": "llava"}))
    with pytest.raises(ModelNotFound, match="no folder"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(GOLDEN / "models/tiny-d", pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load(pickled)
    with pytest.raises(UsageError, match="markup to be one of"):
        load(pickled, markup="french")


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed"
)
def test_a_missing_torchvision_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen2.5-VL-tiny"
    NETWORKS["qwen2.5"].save_pretrained(folder)
    PilProcessor("qwen2.5").tokenizer.save_pretrained(folder)
    PilProcessor("qwen2.5").image_processor.save_pretrained(folder)
    with pytest.raises(
        MissingExtra, match=r"needs the package 'torchvision'.*\[vision-language\]"
    ):
        mp.load(folder, backend="transformers", device="cpu")


def test_options_of_one_backend_are_refused_by_the_other() -> None:
    with pytest.raises(UsageError, match="backend to be one of molmo, transformers, got 'vllm'"):
        mp.load("nano", backend="vllm")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="quantize, mesh and adapter are for backend='molmo'"):
        mp.load("nano", backend="transformers", quantize="int8")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="unknown option drafts: expected markup, max_new_tokens"):
        mp.load("nano", backend="transformers", drafts=True)
    with pytest.raises(UsageError, match="max_new_tokens of at least 1"):
        mp.load("nano", backend="transformers", max_new_tokens=0)
