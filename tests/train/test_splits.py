"""Training and evaluation draw from seeds that cannot meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import UsageError
from molmo_point.synthetic.splits import (
    HELD_OUT_START,
    SEED_END,
    held_out_seed,
    is_held_out,
    training_seed,
)

indices = st.integers(0, 2**47)


@given(st.integers(0, 2**63), st.text(max_size=20), st.integers(0, 2**63))
def test_training_never_draws_a_held_out_seed(run: int, stage: str, index: int) -> None:
    seed = training_seed(run, stage, index)
    assert 0 <= seed < HELD_OUT_START
    assert not is_held_out(seed)


@given(indices)
def test_evaluation_never_draws_a_training_seed(index: int) -> None:
    seed = held_out_seed(index)
    assert HELD_OUT_START <= seed < SEED_END
    assert is_held_out(seed)


@given(indices, indices)
def test_different_evaluation_images_have_different_seeds(one: int, other: int) -> None:
    assert (held_out_seed(one) == held_out_seed(other)) == (one == other)


def test_runs_stages_and_images_draw_apart() -> None:
    seeds = {training_seed(run, stage, i) for run in (0, 1) for stage in "ab" for i in range(500)}
    assert len(seeds) == 2000


@pytest.mark.parametrize("index", [-1, SEED_END - HELD_OUT_START])
def test_an_index_outside_the_range_is_refused(index: int) -> None:
    with pytest.raises(UsageError, match="evaluation image"):
        held_out_seed(index)


@pytest.mark.parametrize("seed", [-1, SEED_END])
def test_a_seed_of_neither_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="expected a seed"):
        is_held_out(seed)
