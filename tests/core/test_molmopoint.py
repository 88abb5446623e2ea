"""MolmoPoint: the reference's tensors and tokens on every path, its points, their confidence, and the map of an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import molmo_point as mp
from molmo_point.checkpoints.catalog import find
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.batch import BatchEntry
from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, Step
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.patch_choice import ChoiceIds, PatchChooser
from molmo_point.engine.patch_confidence import PatchConfidence
from molmo_point.engine.patch_drafting import PatchDrafter
from molmo_point.engine.point_language import frames_of
from molmo_point.engine.token_choice import PatchChoice
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.markup import Frames, PatchParser
from molmo_point.model.weights import parameter_count
from molmo_point.points import Status
from molmo_point.preprocess.patch_places import PatchPlaces
from molmo_point.preprocess.prompt import prompt_tokens
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.preprocess.visual_input import frames_input, images_input

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
FOLDER = GOLDEN / "models/tinypoint-q"
CASES: dict[str, dict[str, Any]] = json.loads((FOLDER / "golden.json").read_text())
ARRAYS = np.load(FOLDER / "golden.npz")
FILES = {
    "img0_336x336": ("img0_336x336",),
    "img1_640x480": ("img1_640x480",),
    "img2_300x820": ("img2_300x820",),
    "multi": ("img0_336x336", "img3_200x150"),
    "video": tuple(f"video_160x120_frame{frame}" for frame in range(3)),
}
DECODINGS = ("as_exported", "as_trained")


@lru_cache(maxsize=4)
def load(decoding: str = "as_exported", **options: Any) -> LocalPointer:
    return mp.load(FOLDER, device="cpu", point_decoding=decoding, max_new_tokens=40, **options)


def given(case: str) -> Any:
    """What a case asks about: an image, a list of images, or a video."""
    paths = [GOLDEN / f"images/{name}.png" for name in FILES[case]]
    times = CASES[case]["timestamps"]
    return mp.Video(paths, times) if times else paths


def prompt(pointer: LocalPointer, case: str) -> list[int]:
    return prompt_tokens(pointer.engine.tokenizer, CASES[case]["prompt"])


def ids_of(case: str) -> ChoiceIds:
    bounds = CASES[case]["bounds"]
    return ChoiceIds.of(bounds["vocab_size"], bounds["n_patches"], bounds["n_subpatches"])


def chooser(pointer: LocalPointer, image: EncodedImage, decoding: str) -> PatchChooser:
    special = pointer.engine.tokenizer.special.point
    assert special is not None
    return PatchChooser(pointer.network, special, image.patches, decoding)  # type: ignore[arg-type]


def state(
    pointer: LocalPointer, image: EncodedImage, case: str, decoding: str, *, drafted: bool
) -> DecodeState:
    asked = prompt(pointer, case)
    assert image.patches is not None
    windows = image.patches.windows.tolist()
    tokenizer = pointer.engine.tokenizer
    drafter = PatchDrafter(tokenizer, "point", "boxes", asked, ids_of(case), windows)
    return DecodeState(
        asked,
        stop=-1,
        limits=Limits(40),
        drafter=drafter if drafted else NoDraft(),
        choice=chooser(pointer, image, decoding),
    )


def reference_tokens(case: str, decoding: str) -> list[int]:
    """The reference's greedy tokens; those of the training code name choices apart from the words."""
    if decoding == "as_exported":
        return [int(token) for token in ARRAYS[f"{case}/hf_greedy40"]]
    ids = ids_of(case)
    starts = {523: ids.patch, 524: ids.part, 525: ids.location}
    chosen = iter(ARRAYS[f"{case}/trained_greedy_points"].reshape(-1).tolist())
    found: list[int] = []
    for token in ARRAYS[f"{case}/trained_greedy40"].tolist():
        choice = next(chosen, None) if token in starts else None
        if token in starts and choice is None:
            break  # the arrays hold whole points only
        found.append(token if choice is None else starts[token] + choice)
    return found


@pytest.mark.parametrize("name", ["molmopoint-8b", "molmopoint-gui-8b"])
def test_full_size_has_the_published_number_of_parameters(name: str) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.config is not None
    assert parameter_count(entry.config) == 8_677_855_065 == entry.parameters


@pytest.mark.parametrize("case", FILES)
def test_tensors_of_the_image(case: str) -> None:
    pointer = load()
    image, _ = pointer.engine.encode(given(case))
    golden = {key: ARRAYS[f"{case}/{key}"] for key in ("features_slice", "patch_k_slice")}
    keys = image.patches
    assert keys is not None
    np.testing.assert_array_equal(keys.windows.numpy(), ARRAYS[f"{case}/token_pooling"])
    np.testing.assert_array_equal(keys.positions.numpy(), ARRAYS[f"{case}/image_pos_ids"])
    np.testing.assert_array_equal(keys.usable.numpy(), ARRAYS[f"{case}/patch_k_mask"] > 0)
    features = keys.embeddings.numpy()
    np.testing.assert_allclose(features[::7], golden["features_slice"][:, 0], atol=5e-4)
    patches = keys.patches.numpy()
    chosen = np.concatenate([patches[:-1][::7], patches[-1:]])
    np.testing.assert_allclose(chosen, golden["patch_k_slice"], atol=5e-4)
    subpatches = keys.subpatches.numpy()[::13]
    valid = (keys.windows.numpy()[::13] >= 0)[..., None]
    expected = ARRAYS[f"{case}/subpatch_k_slice"]
    np.testing.assert_allclose(subpatches * valid, expected * valid, atol=5e-4)


def script_scores(case: str, decoding: str) -> dict[str, np.ndarray]:
    """Feed the golden script token by token; return what the heads say after each."""
    pointer = load(decoding)
    engine, network = pointer.engine, pointer.network
    image, _ = engine.encode(given(case))
    heads, keys, ids = network.points, image.patches, ids_of(case)
    assert heads is not None
    assert keys is not None
    asked = prompt(pointer, case)
    script: list[int] = ARRAYS[f"{case}/script_ids"].tolist()
    rule = chooser(pointer, image, decoding)
    cache = image.cache.fork(image.cache.length + len(asked) + len(script))
    said: dict[str, list[Tensor]] = {"last": [], "lm": [], "patch": [], "sub": [], "loc": []}
    patch = None
    with torch.inference_mode():
        for step, token in enumerate([None, *script]):
            rows, added = rule.inputs(asked if token is None else [token])
            assert added is not None
            x = network.embed_rows(torch.tensor([rows]), added[None])
            positions = cache.length + torch.arange(len(rows))[None]
            hidden = network.decoder(x, positions, cache=cache)[0]
            cache.keep(range(len(rows)))
            if token is None:
                said["last"].append(network.decoder.logits(hidden[-8:]))
                rule._advance(script[0])
                continue
            if ids.is_patch(token):
                patch = token - ids.patch
            said["lm"].append(network.decoder.logits(hidden[-1]))
            if step - 1 in ARRAYS[f"{case}/script_patch_step"]:
                said["patch"].append(heads.patch_scores(hidden[-1], keys, patch))
            if step - 1 in ARRAYS[f"{case}/script_sub_step"]:
                assert patch is not None
                said["sub"].append(heads.subpatch_scores(hidden[-1], keys, patch))
            if step - 1 in ARRAYS[f"{case}/script_loc_step"]:
                said["loc"].append(heads.location_scores(hidden[-1]))
            if step < len(script):
                rule._advance(script[step])
    said["last"] = list(said["last"][0])
    return {key: torch.stack(value).numpy() for key, value in said.items()}


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("case", FILES)
def test_logits_of_words_patches_parts_and_locations(case: str, decoding: str) -> None:
    said = script_scores(case, decoding)
    prefix = "hf" if decoding == "as_exported" else "trained"
    np.testing.assert_allclose(said["last"], ARRAYS[f"{case}/{prefix}_logits_last8"], atol=1e-4)
    for key in ("lm", "patch", "sub", "loc"):
        expected = ARRAYS[f"{case}/{prefix}_script_{key}"]
        masked = np.where(np.isinf(said[key]), expected, said[key])
        assert (np.isinf(said[key]) == (expected <= -1e5)).all()
        np.testing.assert_allclose(masked, expected, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("drafted", [False, True], ids=["plain", "drafted"])
@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("case", FILES)
def test_greedy_tokens(case: str, decoding: str, drafted: bool) -> None:
    pointer = load(decoding)
    image, _ = pointer.engine.encode(given(case))
    decoding_state = state(pointer, image, case, decoding, drafted=drafted)
    steps = list(pointer.engine.decode(image, decoding_state))
    tokens = [token for step in steps for token in step.tokens]
    expected = reference_tokens(case, decoding)
    assert tokens[: len(expected)] == expected
    assert len(steps) < 40 if drafted else len(steps) == 40


@pytest.mark.parametrize(("decoding", "graphs"), [("as_exported", False), ("as_trained", True)])
def test_greedy_tokens_side_by_side(decoding: str, graphs: bool) -> None:
    pointer = load(decoding, cuda_graphs=graphs)
    engine = pointer.engine
    entries = []
    for case in FILES:
        image, _ = engine.encode(given(case))
        for drafted in (False, True):
            own = state(pointer, image, case, decoding, drafted=drafted)
            entries.append(BatchEntry(image.cache, own, (case, drafted)))
    said: dict[Any, list[int]] = {entry.key: [] for entry in entries}
    for entry, outcome in engine.make_batch_decoder(4).run(entries):
        if outcome is not None:
            assert isinstance(outcome, Step)
            said[entry.key] += outcome.tokens
    for (case, _), tokens in said.items():
        expected = reference_tokens(case, decoding)
        assert tokens[: len(expected)] == expected


def test_answers_are_the_same_fresh_opened_streamed_and_batched() -> None:
    pointer = load()
    cases = ("img1_640x480", "img2_300x820")
    images = [given(case)[0] for case in cases]
    fresh = [
        pointer.point(image, CASES[case]["prompt"])
        for case, image in zip(cases, images, strict=True)
    ]
    for case, image, answer in zip(cases, images, fresh, strict=True):
        expected = pointer.engine.tokenizer.decode(reference_tokens(case, "as_exported"))
        assert answer.text == expected
        with pointer.open(image) as view:
            view.count("something else")
            again = view.point(CASES[case]["prompt"])
        assert (again.text, again.points) == (answer.text, answer.points)
        asked = pointer.ask(image, CASES[case]["prompt"])
        assert str(asked) == expected.strip()
    batched = pointer.point_many(
        [(image, CASES[case]["prompt"]) for case, image in zip(cases, images, strict=True)]
    )
    assert [answer.text for answer in batched] == [answer.text for answer in fresh]


def test_a_question_without_an_image_is_answered_in_words() -> None:
    text = "".join(load().stream_text(None, "Hello"))
    assert "<POINT_" not in text
    assert text


def test_words_of_a_question_are_no_choices() -> None:
    tokenizer = Tokenizer(FOLDER)
    ids = tokenizer.encode("see <POINT_5> and <POINT_")
    assert max(ids) < 256
    assert tokenizer.decode(ids) == "see <POINT_5> and <POINT_"
    assert load().point(given("img0_336x336")[0], "the <POINT_9> there") is not None


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        (tmp_path / file.name).symlink_to(file)
    content = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text(content.replace("<POINT_0>", "<POINT_A>"))
    with pytest.raises(CheckpointError, match="do not belong together"):
        mp.load(tmp_path, device="cpu")


# Points of an answer.


def parser(case: str, pointer: LocalPointer) -> PatchParser:
    image, _ = pointer.engine.encode(given(case))
    assert image.places is not None
    bounds = CASES[case]["bounds"]
    return PatchParser(
        locate=image.places.locate,
        choices=(bounds["n_patches"], bounds["n_subpatches"]),
        frames=frames_of(image),
    )


@pytest.mark.parametrize("case", FILES)
def test_points_of_the_script(case: str) -> None:
    reader = parser(case, load())
    streamed = [point for piece in CASES[case]["script_text"] for point in reader.feed(piece)]
    parsed = reader.finish()
    assert parsed.status is Status.FOUND
    assert [(p.x, p.y) for p in streamed] == [(p.x, p.y) for p in parsed.points]
    sizes = CASES[case]["image_sizes"]
    for point, (number, place, x, y) in zip(parsed.points, CASES[case]["extracted"], strict=True):
        size = sizes[0 if CASES[case]["timestamps"] else point.image_index]
        assert point.pixel(*size) == pytest.approx((x, y), abs=1e-6)
        assert (point.index + 1, point.label) == (number, "boxes")
        if CASES[case]["timestamps"]:
            assert (point.time_s, point.track) == (place, number)
        else:
            assert (point.image_index, point.track, point.time_s) == (place, None, None)


EXTRACT = json.loads((GOLDEN / "points/molmopoint_cases.json").read_text())


@pytest.mark.parametrize("case", EXTRACT["text_form"], ids=lambda case: case["mode"])
def test_answers_are_drafted_as_the_training_data_writes_them(case: dict[str, Any]) -> None:
    """Two passes a point, one for the start, and those of words that cannot be guessed."""
    tokenizer = Tokenizer(FOLDER)
    kind = "count" if case["text"].startswith("Counting") else "point"
    count, passes = written(tokenizer, case["text"], kind, case["label"])
    guessed = not case["text"][0].isdigit() and "tracks" not in case["text"]
    if guessed and not case["text"].startswith("There are 2"):
        assert passes <= 2 * count + 2


def written(tokenizer: Tokenizer, text: str, kind: Any, label: str) -> tuple[int, int]:
    """Return the number of points of a text, and of the passes in which a model writes it that wants just that."""
    ids = ChoiceIds.of(640, 50, 4)
    windows = [[4 * window + part for part in range(4)] for window in range(50)]
    goal = tokens_of_text(tokenizer, text, ids)
    drafter = PatchDrafter(tokenizer, kind, label, [5, 6, 7], ids, windows)
    said: list[int] = []
    passes = 0
    while len(said) < len(goal):
        drafts = drafter.propose(said)
        best = 0
        for draft in drafts:
            agreed = 0
            while (
                agreed < len(draft)
                and len(said) + agreed < len(goal)
                and draft[agreed] == goal[len(said) + agreed]
            ):
                agreed += 1
            best = max(best, agreed)
        said += goal[len(said) : len(said) + best + 1]
        passes += 1
    return text.count("<|vit_loc"), passes


def tokens_of_text(tokenizer: Tokenizer, text: str, ids: ChoiceIds) -> list[int]:
    tokens: list[int] = []
    seen = 0
    total = text.count("<|vit_loc|>")
    while text:
        head, mark, rest = text.partition("<|")
        tokens += tokenizer.encode(head)
        if not mark:
            break
        name, _, text = rest.partition("|>")
        if name == "token_index":
            tokens.append(ids.patch + 3 * seen if seen < total else ids.no_more)
        elif name == "vit_index":
            tokens.append(ids.part + seen % 4)
        else:
            tokens.append(ids.location + seen % 9)
            seen += 1
    return tokens


def places_of(case: dict[str, Any]) -> tuple[PatchPlaces, Frames, int]:
    """Places, images or frames, and number of image tokens of blank images of a case's sizes."""
    config, tokenizer = MolmoConfig.from_folder(FOLDER).preprocess, Tokenizer(FOLDER)
    sizes = case.get("image_sizes") or [case["video_size"]] * len(case["timestamps"])
    images = [np.zeros((height, width, 3), np.uint8) for width, height in sizes]
    times = tuple(case.get("timestamps", ()))
    if times:
        visual = frames_input(images, times, config, tokenizer)
    else:
        visual = images_input(images, config, tokenizer)
    places = PatchPlaces.of(visual.pooling.astype(np.int32), visual.grids)
    return places, Frames(0 if times else len(images), times), len(visual.pooling)


@pytest.mark.parametrize(
    "case",
    [case for case in EXTRACT["extract"] if case["no_more_points_class"]],
    ids=lambda case: str(case["n_patches"]),
)
def test_extracted_points(case: dict[str, Any]) -> None:
    """Where the reader of the reference drops a point that does not exist, the answer is malformed from there on."""
    places, frames, patches = places_of(case)
    assert patches == case["n_patches"]
    choices = (patches, case["n_subpatches"])
    reader = PatchParser(locate=places.locate, choices=choices, frames=frames)
    reader.feed(case["text"].replace(" <", "<").replace("> ", ">") + "<" * ("video_size" in case))
    parsed = reader.finish()
    sizes = case.get("image_sizes") or [case["video_size"]] * 3
    found = [
        (
            p.index + 1,
            p.image_index if p.time_s is None else p.time_s,
            *p.pixel(*sizes[p.image_index]),
        )
        for p in parsed.points
    ]
    expected = case["points"]
    kept = [point for index, point in enumerate(expected, start=1) if point[0] == index]
    assert found == [pytest.approx(point, abs=1e-6) for point in kept]
    complete = len(kept) == case["text"].count("<POINT_") // 3 and "video_size" not in case
    assert parsed.status is (Status.FOUND if complete else Status.MALFORMED)


GOOD = '<points coords="<POINT_230><POINT_396><POINT_404>1<POINT_392>">mug</point>'


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ("<POINT_396>", "", 0),
        ("<POINT_230>", "", 0),
        ("<POINT_404>1", "1", 0),
        ("<POINT_404>1", "<POINT_404>2", 0),
        ("<POINT_404>1", "<POINT_404>01", 0),
        ("<POINT_404>", "<POINT_406>", 0),
        ("<POINT_396>", "<POINT_397>", 0),
        ("<POINT_396>", "<POINT_392>", 0),
        ("<POINT_230>", "<POINT_5>", 0),
        ("<POINT_230>", "<POINT_9999>", 0),
        ("<POINT_392>", "<POINT_391>", 1),
        ("<POINT_392>", "", 1),
        ("</point>", "</points>", 1),
        ('coords="', 'coords="1 ', 0),
        ("<points", "<tracks", 0),
    ],
)
def test_a_choice_without_its_patch_is_malformed(old: str, new: str, count: int) -> None:
    pointer = load()
    reader = parser("img0_336x336", pointer)
    reader.feed(GOOD)
    assert reader.finish().status is Status.FOUND
    reader = parser("img0_336x336", pointer)
    reader.feed(GOOD.replace(old, new))
    parsed = reader.finish()
    assert (parsed.status, len(parsed.points)) == (Status.MALFORMED, count)


# Confidence.


def spans_of(text: str) -> Iterator[tuple[int, int]]:
    """A token for each choice and for each other character."""
    at = 0
    while at < len(text):
        end = text.index(">", at) + 1 if text.startswith("<POINT_", at) else at + 1
        yield at, end
        at = end


def rated(patches: dict[int, float], *, parts: dict[int, float] | None = None) -> Any:
    """Score, covariance and absence of the point of GOOD, where the patches have these probabilities."""
    pointer = load()
    image, _ = pointer.engine.encode(given("img0_336x336"))
    ids = ids_of("img0_336x336")
    confidence = PatchConfidence([1, 2], ids, image.places, None)
    probabilities = np.zeros(393)
    for patch, share in patches.items():
        probabilities[patch] = share
    shares = np.zeros(4)
    for part, share in (parts or {3: 1.0}).items():
        shares[part] = share
    locations = np.zeros(9)
    locations[7] = 1.0
    spans = list(spans_of(GOOD))
    numbers = iter([ids.patch + 230, ids.part + 3, ids.location + 7, ids.no_more])
    tokens = [next(numbers) if end - start > 1 else 65 for start, end in spans]
    first = tokens.index(ids.patch + 230)
    logits = torch.full((len(tokens), 640), -60.0)
    logits[:, 65] = 0.0
    choices = {
        first: PatchChoice(probabilities, 0.5),
        first + 1: PatchChoice(shares),
        first + 2: PatchChoice(locations),
    }
    choices[tokens.index(ids.no_more)] = PatchChoice(probabilities)
    confidence.record(Step(tokens, logits, torch.zeros(len(tokens), 2), choices))
    reader = parser("img0_336x336", pointer)
    reader.feed(GOOD)
    point = reader.finish().points[0]
    rated_point = confidence.with_confidence(point, reader.spans[0], GOOD, spans)
    return rated_point, confidence.absent_probability(), image.places


def test_a_certain_choice_leaves_a_third_of_a_patch() -> None:
    point, absent, _ = rated({230: 1.0})
    assert point.score == pytest.approx(0.5)
    third = (0.33 / 27) ** 2 / 12
    assert point.covariance == pytest.approx((third, 0.0, third), rel=1e-6)
    assert absent == pytest.approx(0.0, abs=1e-9)


def test_two_places_and_none() -> None:
    point, absent, places = rated({230: 0.5, 385: 0.25, 392: 0.25})
    assert absent == pytest.approx(0.25, abs=1e-9)
    assert point.score == pytest.approx(0.5 * 0.5)
    inside = places.image[385] >= 0
    offsets = places.centres[385][inside] - (point.x, point.y)
    third, whole = (0.33 / 27) ** 2 / 12, (1 / 27) ** 2 / 12
    moment = (offsets[:, :, None] * offsets[:, None, :]).mean(0)
    expected = moment / 3 + np.eye(2) * (2 * third + whole) / 3
    assert point.covariance == pytest.approx(
        (expected[0, 0], expected[0, 1], expected[1, 1]), rel=1e-6
    )
    assert point.covariance[1] != 0


def test_parts_of_the_window_share_the_mass() -> None:
    point, _, _ = rated({230: 1.0}, parts={3: 0.5, 2: 0.5})
    assert point.score == pytest.approx(0.5 * (0.5 + 0.5 * 0.03 * 27), rel=0.5)
    assert point.covariance[0] > (0.5 / 27) ** 2 / 2 > 1.5 * point.covariance[2]


def test_the_answers_points_are_rated() -> None:
    pointer = load("as_trained")
    answer = pointer.point(given("img1_640x480")[0], CASES["img1_640x480"]["prompt"])
    assert answer.absent_probability is not None
    for point in answer.points:
        assert point.score is not None
        assert point.covariance is not None


# The map.


def test_the_map_adds_up_and_has_modes() -> None:
    pointer = load()
    image = given("img1_640x480")[0]
    found = pointer.point_map(image, "the red circle")
    assert found.probabilities.shape == (46, 46)
    assert found.probabilities.sum() + found.absent == pytest.approx(1.0)
    assert (found.probabilities >= 0).all()
    modes = found.modes(most=3, least=0.0)
    assert len(modes) == 3
    assert modes[0].score is not None
    assert modes[0].score >= (modes[1].score or 0) > 0
    peak = np.unravel_index(found.probabilities.argmax(), (46, 46))
    assert abs(modes[0].y - (peak[0] + 0.5) / 46) < 0.06
    assert abs(modes[0].x - (peak[1] + 0.5) / 46) < 0.06
    with pointer.open(image) as view:
        again = view.point_map("the red circle")
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    drawing = np.asarray(mp.draw(image, pointer.point(image, "x"), point_map=found, count=False))
    plain = np.asarray(mp.draw(image, pointer.point(image, "x"), count=False))
    changed = np.abs(drawing.astype(int) - plain).sum(-1)
    rows, columns = changed.shape
    there = changed[int(rows * (peak[0] + 0.5) / 46), int(columns * (peak[1] + 0.5) / 46)]
    assert there > np.median(changed)


def test_only_heads_make_a_map() -> None:
    nano = mp.load("nano", device="cpu")
    with pytest.raises(UsageError, match="MolmoPoint"):
        nano.point_map(GOLDEN / "images/img0_336x336.png", "mug")
    with pytest.raises(UsageError, match="point_decoding"):
        mp.load(FOLDER, device="cpu", point_decoding="guessed")
