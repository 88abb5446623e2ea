"""Images between preparation and decoding: batches and chunks change no answer; a deadline and cancelling work in each stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import molmo_point as mp
from molmo_point.engine.crop_threads import CropThreads
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.scheduler import Scheduler
from molmo_point.engine.view import LocalView
from molmo_point.errors import ModelFailed
from molmo_point.images import Array
from molmo_point.model.kv_cache import KVCache
from molmo_point.pointer import StepOutput

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("tiny-d", "tiny-o", "tiny-moe", "tiny2-q")
BATCH, CHUNK = 3, 100
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def load(name: str, **options: Any) -> LocalPointer:
    folder = GOLDEN / ("molmo2/models" if name.startswith("tiny2") else "models") / name
    options = {"vision_batch": BATCH, "prefix_chunk": CHUNK, "max_new_tokens": 16, **options}
    return mp.load(folder, device="cpu", **options)


def noise(seed: int, width: int = 500, height: int = 300) -> Array:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def run(scheduler: Scheduler) -> dict[Any, StepOutput]:
    """Work to the end; return the last output of each question."""
    last: dict[Any, StepOutput] = {}
    end = time.monotonic() + 120
    while scheduler.has_work:
        assert time.monotonic() < end
        last |= {output.key: output for output in scheduler.step() if output.last}
    return last


class Work:
    """Writes down what the model does: crops of each vision batch, tokens of each prefix chunk, rows of each pass."""

    def __init__(self, pointer: LocalPointer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, int]] = []
        network = pointer.network
        vision, decoder = pointer.engine.encoder._vision, network.decoder.forward

        def seen(crops: Any) -> Any:
            self.done.append(("vision", len(crops)))
            return vision(crops)

        def read(x: Any, positions: Any, **others: Any) -> Any:
            prefix = isinstance(others["cache"], KVCache)
            self.done.append(("prefix", x.shape[1]) if prefix else ("pass", len(x)))
            return decoder(x, positions, **others)

        monkeypatch.setattr(pointer.engine.encoder, "_vision", seen)
        monkeypatch.setattr(network.decoder, "forward", read)

    def amounts(self, kind: str) -> list[int]:
        return [amount for name, amount in self.done if name == kind]


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_beside_each_other_are_those_alone(name: str) -> None:
    """Other batches, other chunks, shared images, late ones: the text is that of a pointer that reads one image whole."""
    pointer = load(name)
    whole = load(name, vision_batch=64, prefix_chunk=4096)
    images = {"wide": noise(1), "tall": noise(2, 200, 700), "small": noise(3, 60, 40)}
    asked = {(image, query): images[image] for image in images for query in ("cat", "red mug")}
    alone = {key: whole.point(image, key[1]).text for key, image in asked.items()}
    scheduler = pointer.scheduler()
    last: dict[Any, StepOutput] = {}
    for key, image in asked.items():
        scheduler.add(key, pointer.prepare(image), key[1])
        for _ in range(3):  # so that others come while this one is in some stage
            last |= {output.key: output for output in scheduler.step() if output.last}
    last |= run(scheduler)
    for key, text in alone.items():
        result = last[key].result
        assert isinstance(result, mp.Pointing)
        assert result.text == text


def test_crops_of_several_images_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = load("tiny-d", max_new_tokens=2)
    small = [pointer.prepare(noise(seed, 60, 40)) for seed in range(5)]  # two equal crops each
    work = Work(pointer, monkeypatch)
    scheduler = pointer.scheduler()
    for key, image in enumerate(small):
        scheduler.add(key, image, "cat")
    run(scheduler)
    assert work.amounts("vision") == [3, 2]


@pytest.mark.parametrize("name", ["tiny-d", "tiny2-q"])
def test_answers_wait_for_one_chunk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pointer = load(name, max_new_tokens=60, drafts=False)
    pointer.point(noise(1), "cat")
    work = Work(pointer, monkeypatch)
    scheduler = pointer.scheduler()
    scheduler.add("known", noise(1), "cat")
    scheduler.add("new", noise(2), "cat")
    tokens = pointer.prepare(noise(2)).tokens
    run(scheduler)
    kinds = [kind for kind, _ in work.done]
    chunks = [index for index, kind in enumerate(kinds) if kind != "pass"]
    assert all(kinds[index + 1] == "pass" for index in chunks)
    assert max(work.amounts("vision")) <= BATCH
    prefix = work.amounts("prefix")
    assert sum(prefix) == tokens
    if name == "tiny2-q":  # its image tokens see each other
        assert prefix == [tokens]
    else:
        assert len(prefix) > 2
        assert max(prefix) == CHUNK


def test_an_image_is_encoded_once_for_all_that_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pointer = load("tiny-d")
    work = Work(pointer, monkeypatch)
    scheduler = pointer.scheduler()
    first = pointer.prepare(noise(1))
    for key in ("a", "b"):
        scheduler.add(key, pointer.prepare(noise(1)), "cat")
    scheduler.open("view", noise(1))
    last = run(scheduler)
    assert sum(work.amounts("vision")) == len(first.visual.crops)  # type: ignore[union-attr]
    spent = [last[key].result.timing.crops for key in ("a", "b")]  # type: ignore[union-attr]
    assert sorted(spent) == [0, len(first.visual.crops)]  # type: ignore[union-attr]
    view = last["view"].view
    assert isinstance(view, LocalView)
    assert view.point("cat").text == last["a"].result.text  # type: ignore[union-attr]
    # Prepared before it was known, added afterwards; and prepared when it was known.
    work.done.clear()
    scheduler.add("late", first, "cat")
    scheduler.add("later", pointer.prepare(noise(1)), "cat")
    scheduler.open("known", noise(1))
    assert isinstance(run(scheduler)["known"].view, LocalView)
    assert {kind for kind, _ in work.done} == {"pass"}


def finished(scheduler: Scheduler) -> list[Any]:
    """Work to the end; return the questions in the order in which their images were encoded."""
    order: list[Any] = []
    while scheduler.has_work:
        scheduler.step()
        order += [key for key in scheduler._questions if key not in order]
    return order


def test_an_image_that_goes_ahead_overtakes_each_other_once() -> None:
    pointer = load("tiny-d", max_new_tokens=2, vision_batch=1)
    scheduler = pointer.scheduler()
    begun, last = pointer.prepare(noise(1)), pointer.prepare(noise(2))
    assert scheduler.takes(begun)
    scheduler.add("begun", begun, "cat")
    scheduler.step()
    assert scheduler._images.crops > 0
    assert not scheduler.takes(last)
    assert scheduler.takes(last, ahead=True)
    scheduler.add("behind", last, "cat")
    scheduler.add("ahead", pointer.prepare(noise(3)), "cat", ahead=True)
    scheduler.add("ahead, later", pointer.prepare(noise(4)), "cat", ahead=True)
    scheduler.open("opened", pointer.prepare(noise(5)), ahead=True)
    assert finished(scheduler) == ["ahead", "begun", "behind", "ahead, later"]


def in_vision(scheduler: Scheduler) -> bool:
    return scheduler._images.crops > 0


def in_prefix(scheduler: Scheduler) -> bool:
    return scheduler._images.tokens > 0


def in_decoding(scheduler: Scheduler) -> bool:
    return bool(scheduler._questions)


def until(scheduler: Scheduler, stage: Callable[[Scheduler], bool]) -> None:
    """Work until a question is in a stage."""
    while not stage(scheduler):
        assert scheduler.has_work
        scheduler.step()


STAGES = [in_vision, in_prefix, in_decoding]


@pytest.mark.parametrize("stage", STAGES)
def test_who_cancels_in_a_stage_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, stage: Callable[[Scheduler], bool]
) -> None:
    pointer = load("tiny-d")
    work = Work(pointer, monkeypatch)
    scheduler = pointer.scheduler()
    scheduler.add("leaves", noise(1), "cat")
    if stage is in_vision:
        scheduler.open("opens", noise(1))
        scheduler.cancel("opens")
    until(scheduler, stage)
    scheduler.cancel("leaves")
    assert not scheduler.has_work
    assert scheduler.free_rows == pointer.engine.options.max_batch
    work.done.clear()
    assert scheduler.step() == []
    assert work.done == []
    # The crops that were seen are known to the next question.
    scheduler.add("next", noise(1), "cat")
    assert run(scheduler)["next"].result is not None


@pytest.mark.parametrize("kind", ["point", "text"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_deadline_passes_in_each_stage(stage: Callable[[Scheduler], bool], kind: Any) -> None:
    pointer = load("tiny-d", drafts=False)
    scheduler = pointer.scheduler()
    scheduler.add("late", noise(1), "cat", kind=kind, timeout_s=1000.0)
    scheduler.add("calm", noise(1), "cat")
    until(scheduler, stage)
    for waiting in scheduler._waiting.values():
        if waiting.question is not None and waiting.question.timeout_s:
            object.__setattr__(waiting.question, "timeout_s", 0.0)
    for entry, _ in scheduler._questions.values():
        if entry.key == "late":
            object.__setattr__(entry.state._limits, "deadline", 0.0)
    last = {output.key: output for output in scheduler.step() if output.last}
    if stage is not in_decoding:
        assert set(last) == {"late"}  # at once, not after its image's last stage
    last |= run(scheduler)
    late = last["late"].result
    if isinstance(late, mp.Pointing):
        assert late.status is mp.Status.TRUNCATED
        assert late.image_size == (500, 300)
        assert late.points == ()
    else:
        assert isinstance(late, mp.Text)
        assert late.finish_reason == "timeout"
    calm = last["calm"].result
    assert isinstance(calm, mp.Pointing)
    assert calm.timing.new_tokens == 16


def test_a_crop_that_overflows_fails_its_own_image(monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = load("tiny-d")
    vision = pointer.engine.encoder._vision

    def overflowing(crops: Any) -> Any:
        features = vision(crops)
        features[(crops > 1.5).all(2).all(1)] = float("nan")  # white all over
        return features

    monkeypatch.setattr(pointer.engine.encoder, "_vision", overflowing)
    scheduler = pointer.scheduler()
    white = np.full((40, 40, 3), 255, np.uint8)
    scheduler.add("bad", white, "cat")
    scheduler.add("good", noise(1, 60, 40), "cat")
    assert scheduler._images.crops == 2 <= BATCH
    last = run(scheduler)
    assert isinstance(last["good"].result, mp.Pointing)
    assert isinstance(last["bad"].error, ModelFailed)
    assert len(pointer.engine.encoder.crops) == 1


def test_a_batch_of_crops_that_does_not_fit_is_made_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pointer = load("tiny-d", vision_batch=8)
    sizes: list[int] = []
    vision = pointer.engine.encoder._vision

    def limited(crops: Any) -> Any:
        sizes.append(len(crops))
        if len(crops) > 2:
            raise FULL
        return vision(crops)

    monkeypatch.setattr(pointer.engine.encoder, "_vision", limited)
    scheduler = pointer.scheduler()
    scheduler.add("a", noise(1, 900, 700), "cat")
    assert run(scheduler)["a"].result is not None
    assert sizes[:3] == [8, 4, 2]
    assert max(sizes[2:]) == 2  # tried, then not again while images wait


def test_what_needs_too_much_memory_alone_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = load("tiny-d")
    pointer.point(noise(1), "cat")

    def full(crops: Any) -> Any:
        raise FULL

    monkeypatch.setattr(pointer.engine.encoder, "_vision", full)
    scheduler = pointer.scheduler()
    scheduler.add("new", noise(2), "cat")
    last = run(scheduler)
    assert isinstance(last["new"].error, ModelFailed)
    assert scheduler.free_rows == pointer.engine.options.max_batch


def test_crops_are_divided_among_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal to the whole batch bit for bit or nearly, whatever the number; the number of torch's threads stays for the others."""
    vision = load("tiny-d").network.vision
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        parts = CropThreads(vision)
        crops = torch.randn(7, 576, 588, generator=torch.Generator().manual_seed(0))
        sizes: list[int] = []
        forward = vision.forward

        def noted(crops: Any) -> Any:
            sizes.append(len(crops))
            assert torch.get_num_threads() == (1 if len(crops) < count else 3)
            return forward(crops)

        monkeypatch.setattr(vision, "forward", noted)
        with torch.inference_mode():
            for count, expected in ((7, [2, 2, 3]), (2, [1, 1]), (1, [1])):
                sizes.clear()
                together = forward(crops[:count])
                assert torch.allclose(parts(crops[:count]), together, atol=1e-5)
                assert sorted(sizes) == expected
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
