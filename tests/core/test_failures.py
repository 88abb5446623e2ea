"""Failures of the network: NaN and exhausted memory fail one question with advice, the others are answered."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import molmo_point as mp
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.engine.failures import is_out_of_memory, with_memory
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.score_calibration import read_calibration
from molmo_point.errors import (
    BatchError,
    CheckpointError,
    ImageError,
    ModelFailed,
    QueryError,
    UsageError,
)
from molmo_point.model import devices
from molmo_point.model.batch_cache import BatchSlots
from molmo_point.points import Pointing, Status

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "models" / "tiny-d"
SMALL = np.full((80, 80, 3), 90, np.uint8)
WIDE = np.full((400, 700, 3), 160, np.uint8)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

Ask = Callable[[LocalPointer], object]
ASKS: dict[str, Ask] = {
    "point": lambda pointer: pointer.point(SMALL, "cat"),
    "count": lambda pointer: pointer.count(SMALL, "cats"),
    "ask": lambda pointer: pointer.ask(SMALL, "What is this?"),
    "stream": lambda pointer: list(pointer.stream(SMALL, "cat")),
    "stream_text": lambda pointer: list(pointer.stream_text(None, "What is this?")),
    "open": lambda pointer: pointer.open(SMALL).point("cat"),
    "point_with_features": lambda pointer: pointer.point_with_features(SMALL, "cat"),
}


def tiny(**options: Any) -> LocalPointer:
    return mp.load(TINY, max_new_tokens=12, **options)


@pytest.fixture(scope="module")
def whole() -> LocalPointer:
    return tiny()


@pytest.mark.parametrize("drafts", [True, False])
@pytest.mark.parametrize("name", ASKS)
def test_overflow_is_a_model_failure(name: str, drafts: bool) -> None:
    pointer = tiny(dtype="float16", drafts=drafts)
    with torch.no_grad():
        # The keys and values that the last block writes are too large, nothing before them.
        pointer.network.decoder.blocks[-1].attention_norm.weight.fill_(6e4)  # type: ignore[union-attr,operator]
    with pytest.raises(ModelFailed, match=r"float16.*dtype='bfloat16' or 'float32'"):
        ASKS[name](pointer)
    assert len(pointer.engine.encoder.images) == 0


@pytest.mark.parametrize("drafts", [True, False])
def test_nan_logits_while_an_answer_is_written(drafts: bool) -> None:
    pointer = tiny(drafts=drafts)
    view = pointer.open(SMALL)
    with torch.no_grad():
        pointer.network.decoder.head.weight[3].fill_(float("nan"))
    for ask in (view.point, view.count, view.ask):
        with pytest.raises(
            ModelFailed, match=r"NaN or infinity in float32: its weights are damaged"
        ):
            ask("cat")


def test_an_image_that_overflows_the_vision_tower_is_not_remembered() -> None:
    pointer = tiny()
    with torch.no_grad():
        pointer.network.vision.positional_embedding.fill_(float("inf"))
    with pytest.raises(ModelFailed):
        pointer.open(SMALL)
    assert len(pointer.engine.encoder.crops) == 0


def test_nan_in_one_row_of_a_batch_fails_that_one(whole: LocalPointer) -> None:
    alone = {key: whole.point(SMALL, key) for key in ("a", "c")}
    scheduler = whole.scheduler()
    for key in ("a", "b", "c"):
        scheduler.add(key, SMALL, key)
    state = scheduler._questions["b"][0].state
    accept = state.accept
    state.accept = lambda logits, hidden: accept(logits * float("nan"), hidden)  # type: ignore[method-assign]
    ended: dict[object, object] = {}
    while scheduler.has_work:
        for output in scheduler.step():
            if output.error or output.result:
                ended[output.key] = output.error or output.result
    assert isinstance(ended["b"], ModelFailed)
    assert scheduler.free_rows == whole.engine.options.max_batch
    for key, expected in alone.items():
        result = ended[key]
        assert isinstance(result, Pointing)
        assert (result.text, result.points) == (expected.text, expected.points)


def test_an_answer_that_cannot_be_composed_fails_alone(whole: LocalPointer) -> None:
    scheduler = whole.scheduler()
    for key in ("a", "b"):
        scheduler.add(key, SMALL, key)
    answer = scheduler._questions["a"][1].answer
    answer.take = lambda step: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    ended: dict[object, object] = {}
    while scheduler.has_work:
        ended |= {n.key: n.error or n.result for n in scheduler.step() if n.error or n.result}
    assert "ZeroDivisionError" in str(ended["a"])
    assert isinstance(ended["b"], Pointing)


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_pass_is_repeated_once_after_memory_was_freed() -> None:
    attempts: list[int] = []

    def work() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise FULL
        return "done"

    assert with_memory(work, lambda: True) == "done"
    attempts.clear()
    with pytest.raises(ModelFailed, match=r"out of memory \(CUDA out of memory"):
        with_memory(work, lambda: False)


def full_when(
    monkeypatch: pytest.MonkeyPatch, pointer: LocalPointer, full: Callable[[Tensor, Any], bool]
) -> None:
    """Let the decoder run out of memory where `full(positions, cache)` says so."""
    forward = pointer.network.decoder.forward

    def failing(x: Tensor, positions: Tensor, **others: Any) -> Tensor:
        if full(positions, others.get("cache")):
            raise FULL
        return forward(x, positions, **others)

    monkeypatch.setattr(pointer.network.decoder, "forward", failing)


@pytest.mark.parametrize("name", ASKS)
def test_exhausted_memory_is_a_point_error_and_leaves_the_model_usable(
    monkeypatch: pytest.MonkeyPatch, whole: LocalPointer, name: str
) -> None:
    before = ASKS["ask"](whole)
    with monkeypatch.context() as patch:
        full_when(patch, whole, lambda positions, cache: True)
        with pytest.raises(ModelFailed, match=r"out of memory.*quantize='int8'"):
            ASKS[name](whole)
    assert ASKS["ask"](whole) == before


def test_a_batch_that_is_too_wide_is_answered_in_parts(
    monkeypatch: pytest.MonkeyPatch, whole: LocalPointer
) -> None:
    requests = [(SMALL, "a"), (WIDE, "b"), (SMALL, "c"), (WIDE, "d"), (SMALL, "e")]
    alone = [whole.point(image, query).text for image, query in requests]
    widths: list[int] = []

    def wide(positions: Tensor, cache: Any) -> bool:
        if isinstance(cache, BatchSlots):
            widths.append(len(positions))
        return isinstance(cache, BatchSlots) and len(positions) > 2

    full_when(monkeypatch, whole, wide)
    assert [pointing.text for pointing in whole.point_many(requests)] == alone
    # Tried once, then not again in this batch.
    assert [width for width in widths if width > 2] == [5]


def test_one_question_that_needs_too_much_fails_alone(
    monkeypatch: pytest.MonkeyPatch, whole: LocalPointer
) -> None:
    requests = [(SMALL, "a"), (WIDE, "b"), (SMALL, "c")]
    alone = [whole.point(image, query).text for image, query in requests]
    short, prefix = (whole.engine.encode(image)[0].cache.length for image in (SMALL, WIDE))
    assert short + 100 < prefix

    def long(positions: Tensor, cache: Any) -> bool:
        return isinstance(cache, BatchSlots) and int(positions.max()) >= prefix

    full_when(monkeypatch, whole, long)
    with pytest.raises(
        BatchError, match="1 of 3 requests failed; the first is request 1"
    ) as caught:
        whole.point_many(requests)
    first, failed, last = caught.value.results
    assert isinstance(failed, ModelFailed)
    assert isinstance(first, Pointing)
    assert isinstance(last, Pointing)
    assert [first.text, last.text] == [alone[0], alone[2]]


def test_a_batch_that_does_not_fit_is_made_smaller(
    monkeypatch: pytest.MonkeyPatch, whole: LocalPointer
) -> None:
    zeros = torch.zeros

    def limited(shape: Any, *others: Any, **named: Any) -> Tensor:
        if isinstance(shape, tuple) and len(shape) == 5 and shape[1] > 2:
            raise FULL
        return zeros(shape, *others, **named)

    monkeypatch.setattr("molmo_point.model.batch_cache.torch.zeros", limited)
    assert whole.scheduler().free_rows == 2


def test_loading_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FULL

    monkeypatch.setattr("molmo_point.engine.load_engine.load_weights", full)
    with pytest.raises(ModelFailed, match="out of memory"):
        tiny()


def test_bad_items_of_point_many_do_not_lose_the_others(
    whole: LocalPointer, tmp_path: Path
) -> None:
    expected = whole.point(SMALL, "cat")
    requests: list[Any] = [(SMALL, "cat"), (tmp_path / "none.png", "cat"), (SMALL, "")]
    requests += [SMALL, (SMALL, "cat")]
    with pytest.raises(BatchError, match="3 of 5 requests failed") as caught:
        whole.point_many(requests)
    results = caught.value.results
    assert [type(result) for result in results] == [
        Pointing,
        ImageError,
        QueryError,
        UsageError,
        Pointing,
    ]
    for kept in (results[0], results[4]):
        assert isinstance(kept, Pointing)
        assert kept.text == expected.text
    assert whole.point_many([]) == []


def test_none_in_the_place_of_an_image_is_refused_by_every_call(whole: LocalPointer) -> None:
    """cv2.imread and cameras return None where they fail: no answer may be made up for it."""
    nothing: Any = None
    calls: list[Callable[[], object]] = [
        lambda: whole.point(nothing, "cat"),
        lambda: whole.count(nothing, "cat"),
        lambda: whole.ask(nothing, "What is this?"),
        lambda: whole.open(nothing),
        lambda: list(whole.stream(nothing, "cat")),
        lambda: list(whole.point_each(nothing, ["cat"])),
        lambda: whole.point_many([(nothing, "cat")]),
    ]
    for call in calls:
        with pytest.raises((ImageError, BatchError), match="None"):
            call()


@pytest.mark.parametrize("timeout_s", [-1.0, float("nan"), "5", True])
def test_an_invalid_timeout_is_refused_by_every_call(whole: LocalPointer, timeout_s: Any) -> None:
    view = whole.open(SMALL)
    calls: list[Callable[[], object]] = [
        lambda: whole.point(SMALL, "cat", timeout_s=timeout_s),
        lambda: whole.count(SMALL, "cat", timeout_s=timeout_s),
        lambda: whole.ask(SMALL, "cat", timeout_s=timeout_s),
        lambda: next(whole.stream(SMALL, "cat", timeout_s=timeout_s)),
        lambda: whole.point_many([(SMALL, "cat")], timeout_s=timeout_s),
        lambda: view.point("cat", timeout_s=timeout_s),
        lambda: view.ask("cat", timeout_s=timeout_s),
        lambda: whole.scheduler().add("a", SMALL, "cat", timeout_s=timeout_s),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="expected timeout_s"):
            call()


def test_infinity_is_no_limit_and_stamps_are_checked(whole: LocalPointer) -> None:
    assert whole.point(SMALL, "cat", timeout_s=float("inf")).text == whole.point(SMALL, "cat").text
    with pytest.raises(UsageError, match="stamp_ns"):
        whole.point(SMALL, "cat", stamp_ns=1.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="frame_id"):
        whole.count(SMALL, "cat", frame_id=5)  # type: ignore[arg-type]
    told = whole.point(SMALL, "cat", stamp_ns=-3, frame_id="camera", timeout_s=0)
    assert (told.stamp_ns, told.frame_id, told.status) == (-3, "camera", Status.TRUNCATED)


@pytest.fixture
def forked(whole: LocalPointer) -> str:
    """What a forked process hears from a model of its parent."""
    whole.point(SMALL, "cat")
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        said = "an answer"
        try:
            whole.point(SMALL, "cat")
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_model_says_so_instead_of_waiting(forked: str) -> None:
    assert forked.startswith("UsageError: the model 'tiny-d' was loaded in process")
    assert "spawn" in forked


@pytest.mark.parametrize(
    "device",
    ["gpu", "meta", "cpu:7", "cpu:x", "vulkan", "", "mps:3", "cuda:999", 5, None],
)
def test_devices_that_are_not_there_are_refused(device: Any) -> None:
    with pytest.raises(UsageError, match="device"):
        mp.load(TINY, device=device)


@pytest.mark.parametrize("kind", ["mps", "xpu", "cuda"])
def test_kinds_of_devices_that_this_machine_lacks(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(devices._COUNTS, kind, lambda: 0)
    with pytest.raises(UsageError, match=f"there is no {kind} device here"):
        mp.load(TINY, device=kind)


@pytest.mark.parametrize("name", [None, 5, "", "  ", b"nano"])
def test_a_name_that_is_none(name: Any) -> None:
    with pytest.raises(UsageError, match="expected the model's name or folder"):
        mp.load(name)


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_new_tokens", 0), ("max_new_tokens", "9"), ("max_batch", -1), ("drafts", "no")],
)
def test_options_are_checked_before_anything_is_loaded(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"expected {option} as"):
        mp.load("no/such/model", **{option: value})
    with pytest.raises(UsageError, match="expected quantize to be one of"):
        mp.load("no/such/model", quantize="int3")


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_a_calibration_that_is_not_finite_is_damaged(tmp_path: Path, number: str) -> None:
    content = json.loads((NANO_FOLDER / "calibration.json").read_text())
    content["score_bias"] = float(number)
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"calibration\.json is damaged"):
        read_calibration(tmp_path, 192)
