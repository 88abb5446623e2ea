"""Scenes as arrays: every token's ground truth, worked out a second way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.markup import parse
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.scenes.questions import Question, QuestionStyle, draw_questions
from molmo_point.synthetic.scenes.scene import NOTHING, Scene, Style, draw_scene
from molmo_point.synthetic.splits import training_seed
from molmo_point.train.auxiliary_losses import soft_numbers
from molmo_point.train.collate import collate
from molmo_point.train.sample import NO_PATCH, build_image_sample
from molmo_point.train.target_sequence import NO_TARGET, AnswerWriter, written_order
from molmo_point.train.vocabulary import NUMBERS, build_tokenizer, save_tokenizer

CONFIG = PreprocessConfig(crop_size=96, patch_size=16, margins=(2, 2), max_crops=4)
STYLE = Style(sizes=((96, 96), (160, 120), (120, 200)), things=(1, 8), scale=(0.15, 0.4))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(build_tokenizer(), folder)
    return Tokenizer(folder)


def scene(index: int) -> Scene:
    return draw_scene(training_seed(0, "examples", index), STYLE)


def questions(drawn: Scene) -> list[Question]:
    return draw_questions(drawn, np.random.default_rng(drawn.seed), 6, QuestionStyle())


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_offsets_and_places_name_the_same_centre(tokenizer: Tokenizer, index: int) -> None:
    """A token's place on its canvas plus its offset, moved back to the image, is the thing's point."""
    drawn = scene(index)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    from molmo_point.preprocess.crops import crop_image, token_grid
    from molmo_point.preprocess.resize import place

    cut = crop_image(drawn.image, CONFIG)
    height, width = drawn.image.shape[:2]
    side = CONFIG.token_grid
    low = place(width, height, CONFIG.crop_size, CONFIG.crop_size)
    rows, columns = token_grid(*cut.grid, CONFIG)
    start = 2
    seen = 0
    for view, (count_y, count_x) in ((low, (side, side)), (cut.placement, (rows, columns))):
        for y in range(count_y):
            for x in range(count_x):
                token = start + y * (count_x + 1) + x
                assert image.prefix[token] == tokenizer.special.image_patch
                thing = image.token_things[token]
                if thing >= 0:
                    seen += 1
                    canvas = (np.array([x + 0.5, y + 0.5]) + image.offsets[token]) * 32
                    percent = view.norm_from_canvas(canvas) * 100
                    assert percent == pytest.approx(image.points[thing], abs=0.05)
        start += count_y * (count_x + 1) + 2
    assert seen == (image.token_things >= 0).sum()
    patches = image.prefix == tokenizer.special.image_patch
    assert np.array_equal(image.token_things == NO_PATCH, ~patches)


def test_most_things_are_shown_by_some_token(tokenizer: Tokenizer) -> None:
    shown = total = 0
    for index in range(30):
        image = build_image_sample(scene(index), CONFIG, tokenizer)
        total += len(image.kinds)
        shown += len(set(image.token_things[image.token_things >= 0].tolist()))
    # Things a quarter of a token in size may lose every token to a larger neighbour.
    assert shown > 0.7 * total


def test_equal_crops_are_kept_once(tokenizer: Tokenizer) -> None:
    square = draw_scene(training_seed(0, "square", 0), Style(sizes=((96, 96),)))
    image = build_image_sample(square, CONFIG, tokenizer)
    assert len(image.crops) == 1
    assert image.crop_rows.tolist() == [0, 0]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_answers_are_molmos_text(tokenizer: Tokenizer, index: int) -> None:
    drawn = scene(index)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    writer = AnswerWriter(tokenizer, cut=0.0)
    for question in questions(drawn):
        answer = writer.write(question, image.points, 0.5)
        text = tokenizer.decode(answer.ids.tolist())
        prompt, _, written = text.partition(" Assistant:")
        assert prompt == f" User: {question.prompt}"
        start, end = answer.query_span
        assert tokenizer.decode(answer.ids[start:end].tolist()) == f" {question.query}"
        parsed = parse(written)
        assert answer.ids[-1] == tokenizer.special.end
        assert answer.absent == (not question.targets)
        if not question.targets:
            assert written == " There are none."
            continue
        if question.mode == "count":
            assert parsed.stated_count == len(question.targets)
        # Each place where the network is taught to look belongs to the number written there.
        percents = [value for point in parsed.points for value in (point.x * 100, point.y * 100)]
        taught = [float(v) for v in answer.coordinates[~np.isnan(answer.coordinates)]]
        assert taught == pytest.approx(percents, abs=1e-4)
        for number, (position, things) in enumerate(answer.looks[1:]):
            point, axis = divmod(number, 2)
            assert len(things) == 1
            at = image.points[things[0]][axis]
            assert percents[2 * point + axis] == pytest.approx(at, abs=0.0501)
            assert tokenizer.decode([int(answer.targets[position])]) == str(
                int(percents[number] + 1e-6)
            )
        assert set(answer.looks[0][1]) == set(question.targets)


def test_cut_answers_end_after_their_coordinates(tokenizer: Tokenizer) -> None:
    drawn = scene(3)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    whole, cut = AnswerWriter(tokenizer, cut=0.0), AnswerWriter(tokenizer, cut=1.0)
    for question in questions(drawn):
        long, short = (w.write(question, image.points, 0.5) for w in (whole, cut))
        assert np.array_equal(long.ids[: len(short.ids)], short.ids)
        if question.targets:
            assert tokenizer.decode(short.ids.tolist()).endswith('" alt="')
            assert np.array_equal(long.targets[: len(short.ids) - 1], short.targets[:-1])
        else:
            assert len(long.ids) == len(short.ids)


def test_nothing_is_learned_from_the_question(tokenizer: Tokenizer) -> None:
    drawn = scene(4)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    for question in questions(drawn):
        answer = AnswerWriter(tokenizer).write(question, image.points, 0.99)
        start = answer.looks[0][0]
        assert (answer.targets[:start] == NO_TARGET).all()
        assert (answer.targets[start:-1] == answer.ids[start + 1 :]).all()
        assert (answer.weights[answer.targets == NO_TARGET] == 0).all()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12))
def test_the_order_is_that_of_the_text(points: list[tuple[float, float]]) -> None:
    from molmo_point.markup import format_points

    array = np.array(points)
    text = format_points(array, "x", scale=100.0)
    written = [(p.x * 100, p.y * 100) for p in parse(text).points]
    assert np.array(written) == pytest.approx(np.round(array, 1)[written_order(array)], abs=1e-6)


@given(st.floats(0, 100), st.floats(0.3, 3))
def test_soft_numbers_peak_at_the_whole_part(value: float, softness: float) -> None:
    weights = soft_numbers(torch.tensor([value], dtype=torch.float64), softness)[0]
    assert len(weights) == NUMBERS
    assert float(weights.sum()) == pytest.approx(1)
    assert int(weights.argmax()) == int(value)


def test_questions_are_blind_to_each_other(tokenizer: Tokenizer) -> None:
    drawn = scene(5)
    image = build_image_sample(drawn, CONFIG, tokenizer)
    writer = AnswerWriter(tokenizer)
    answers = [writer.write(q, image.points, 0.5) for q in questions(drawn)[:3]]
    batch = collate([(image, answers), (image, answers[:1])])
    mask = batch.inputs.attention_mask()[:, 0]
    segments = batch.inputs.segments
    for row in range(2):
        for query in range(mask.shape[1]):
            for key in range(mask.shape[2]):
                visible = key <= query and (
                    segments[row, key] == 0 or segments[row, key] == segments[row, query]
                )
                assert bool(mask[row, query, key]) == visible
    # Each question goes on where the image ended.
    first = len(image.prefix)
    for number in range(1, 4):
        positions = batch.inputs.positions[0][segments[0] == number]
        assert positions.tolist() == list(range(first, first + len(positions)))


def test_no_thing_is_background(tokenizer: Tokenizer) -> None:
    image = build_image_sample(scene(6), CONFIG, tokenizer)
    batch = collate([(image, [])])
    seen = image.token_things >= 0
    assert (
        batch.image.classes[0][seen] == torch.from_numpy(image.kinds[image.token_things[seen]] + 1)
    ).all()
    assert (batch.image.classes[0][image.token_things == NOTHING] == 0).all()
    assert (batch.image.classes[0][image.token_things == NO_PATCH] == -1).all()
