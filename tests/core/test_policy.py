"""The policy by itself: answers wait for one chunk at most, images go on, and are asked for only when there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from molmo_point.engine.policy import Policy, Stage, Waiting

WORK = st.builds(
    Waiting,
    crops=st.integers(0, 40),
    tokens=st.integers(0, 900),
    answers=st.integers(0, 8),
)
AMOUNT = {Stage.VISION: "crops", Stage.PREFIX: "tokens", Stage.DECODE: "answers"}


@given(st.lists(WORK, max_size=60))
def test_answers_wait_for_one_chunk_at_most(history: list[Waiting]) -> None:
    policy = Policy(8)
    chunks = 0
    for waiting in history:
        stage = policy.next(waiting)
        if stage is None:
            assert waiting == Waiting(0, 0, 0)
            continue
        assert getattr(waiting, AMOUNT[stage]) > 0, "nothing of that kind waits"
        if not waiting.answers or stage is Stage.DECODE:
            chunks = 0
        else:
            chunks += 1
        assert chunks <= 1


@given(st.integers(0, 40), st.integers(0, 900), st.integers(1, 8))
def test_images_go_on_while_answers_are_decoded(crops: int, tokens: int, answers: int) -> None:
    """With answers that never end, every second piece of work is an image's, tokens first."""
    policy = Policy(8)
    stages = []
    while crops or tokens:
        stage = policy.next(Waiting(crops, tokens, answers))
        stages.append(stage)
        if stage is Stage.PREFIX:
            tokens = max(0, tokens - 256)
        elif stage is Stage.VISION:
            crops = max(0, crops - 8)
    chunks = [stage for stage in stages if stage is not Stage.DECODE]
    assert len(stages) <= 2 * len(chunks)
    assert chunks == sorted(chunks, key=[Stage.PREFIX, Stage.VISION].index)


def test_without_answers_chunks_follow_each_other() -> None:
    policy = Policy(8)
    assert [policy.next(Waiting(20, 0, 0)) for _ in range(3)] == [Stage.VISION] * 3
    assert policy.next(Waiting(20, 300, 0)) is Stage.PREFIX
    assert policy.next(Waiting(0, 0, 2)) is Stage.DECODE
    assert policy.next(Waiting(0, 0, 0)) is None


def test_an_image_is_taken_when_the_next_batch_has_room_for_its_first_crop() -> None:
    policy = Policy(8)
    assert policy.takes_image(0)
    assert policy.takes_image(7)
    assert not policy.takes_image(8)
