"""Pages: the same seed gives the same page, what is written is where the ground truth says, words are kept apart."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import UsageError
from molmo_point.preprocess.crops import crop_image
from molmo_point.synthetic.letter_classes import (
    CLASSES,
    LETTERS,
    OTHER,
    SLOTS,
    letter_class,
    letter_targets,
)
from molmo_point.synthetic.pages.browser import NAMES, BrowserFailed, PageBrowser, _scene
from molmo_point.synthetic.pages.controls import ROLES, icons
from molmo_point.synthetic.pages.draw import PageStyle, draw_page
from molmo_point.synthetic.pages.frameworks import Framework, draw_framework
from molmo_point.synthetic.pages.html import Control
from molmo_point.synthetic.pages.labels import (
    draw_label,
    is_kept,
    known_labels,
    look_alike,
    made_up,
)
from molmo_point.synthetic.pages.questions import PageQuestions, draw_page_questions
from molmo_point.synthetic.pages.themes import (
    FAMILIES,
    FONTS,
    UNSEEN_FAMILY,
    UNSEEN_FONTS,
    draw_theme,
)
from molmo_point.synthetic.scenes.questions import Question
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.synthetic.splits import held_out_seed, training_seed
from molmo_point.train.letters import letters_in_patches

STYLE = PageStyle()
CONFIG = PreprocessConfig(crop_size=224, patch_size=16, margins=(2, 2), max_crops=4)


def page(index: int, style: PageStyle = STYLE) -> Scene:
    return draw_page(training_seed(0, "pages", index), style)


def asked(drawn: Scene, count: int = 9) -> list[Question]:
    rng = np.random.default_rng([drawn.seed, 2])
    return draw_page_questions(drawn, rng, count, PageQuestions(), "training")


def words_of(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize("style", [STYLE, PageStyle(mosaic=True, sizes=((224, 224),))])
def test_the_same_seed_draws_the_same_page(style: PageStyle) -> None:
    for index in range(4):
        one, other = page(index, style), page(index, style)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.letters, other.letters)
        assert one.things == other.things
    assert not np.array_equal(page(1, style).image, page(2, style).image)


@given(st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_every_control_that_is_asked_for_is_where_it_says(index: int) -> None:
    drawn = page(index)
    height, width = drawn.owner.shape
    for number, thing in enumerate(drawn.things):
        if thing.visible:
            x, y = thing.point
            assert drawn.owner[int(y), int(x)] == number
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_letters_lie_on_ink() -> None:
    """Around the middle of a letter something differs from the page's own ground, and nothing does where no letter is."""
    for index in range(12):
        drawn = page(index)
        grey = drawn.image.astype(int).sum(-1)
        for kind, x, y, size in drawn.letters:
            if kind == OTHER or not (0 <= x < grey.shape[1] and 0 <= y < grey.shape[0]):
                continue
            top, left = max(0, int(y - size / 2)), max(0, int(x - size / 2))
            around = grey[top : int(y + size / 2) + 1, left : int(x + size / 2) + 1]
            assert around.max() - around.min() > 60


def test_every_label_is_written_as_letters() -> None:
    for index in range(12):
        drawn = page(index)
        written = Counter(int(kind) for kind in drawn.letters[:, 0])
        wanted = Counter(
            letter_class(sign) for t in drawn.things for sign in t.text if sign.isalnum()
        )
        assert all(written[kind] >= number for kind, number in wanted.items())


def test_letters_fall_into_the_patches_that_show_them() -> None:
    """Counted through the crops' own patches: a patch with a letter has ink in it."""
    drawn = page(3, PageStyle(sizes=((224, 224),)))
    cut = crop_image(drawn.image, CONFIG)
    letters, known = letters_in_patches(drawn, cut, CONFIG)
    assert letters.shape == (2, 196, CLASSES)
    assert known.all()
    inside = drawn.letters[(drawn.letters[:, 1] < 224) & (drawn.letters[:, 2] < 224)]
    patches = {(int(y) // 16 * 14 + int(x) // 16, int(kind)) for kind, x, y, _ in inside}
    assert {tuple(pair) for pair in np.argwhere(letters[0])} == patches


def test_small_letters_are_not_asked_for_in_the_small_view() -> None:
    drawn = page(5, PageStyle(sizes=((640, 480),), text=(12, 12)))
    cut = crop_image(drawn.image, CONFIG)
    letters, known = letters_in_patches(drawn, cut, CONFIG)
    assert not known[0]  # 12 px become 4
    assert known[1:].all()
    assert letters[1:].any()


@given(st.text(max_size=20))
def test_spelling_keeps_letters_and_digits_in_order(text: str) -> None:
    slots = letter_targets(text)
    assert len(slots) == SLOTS
    assert all(0 <= slot < OTHER for slot in slots)
    back = "".join(LETTERS[slot - 1] for slot in slots if slot)
    plain = "".join(sign for sign in text.lower() if sign in LETTERS)
    assert back == plain[:SLOTS]
    assert slots[len(back) :] == (0,) * (SLOTS - len(back))


def test_words_of_training_and_evaluation_never_meet() -> None:
    """Neither written nor asked for: on pages, in questions about what is there and what is not."""
    seen: set[str] = set()
    for index in range(150):
        drawn = page(index, PageStyle(sizes=((320, 240),)))
        texts = [t.text for t in drawn.things]
        labels = [q.label for q in asked(drawn)]
        seen.update(word.lower() for text in (*texts, *labels) for word in words_of(text))
    assert len(seen) > 500
    assert not [word for word in seen if is_kept(word)]
    rng = np.random.default_rng(0)
    unseen = {draw_label(rng, "unseen") for _ in range(300)}
    assert all(any(map(is_kept, words_of(label))) for label in unseen)
    assert not unseen & set(known_labels(kept=False))


def test_known_labels_are_all_of_training() -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_label(rng, "known") for _ in range(300)}
    assert drawn <= set(known_labels(kept=False))
    assert len(known_labels(kept=True)) >= 20


@given(st.integers(0, 2**32), st.booleans())
def test_made_up_words_are_on_their_side(seed: int, kept: bool) -> None:
    word = made_up(np.random.default_rng(seed), kept)
    assert 3 <= len(word) <= 10
    assert is_kept(word) == is_kept(word.upper()) == kept


@given(st.integers(0, 2**32))
def test_a_look_alike_is_another_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = draw_label(rng, "training")
    alike = look_alike(rng, label, "training")
    assert alike.lower() != label.lower()
    assert not any(map(is_kept, alike.split()))


def test_training_never_sees_the_looks_of_evaluation() -> None:
    rng = np.random.default_rng(0)
    themes = [draw_theme(rng, (10, 20), unseen=False) for _ in range(200)]
    assert {theme.family for theme in themes} == set(FAMILIES)
    assert {theme.font for theme in themes} == set(FONTS)
    kept = [draw_theme(rng, (10, 20), unseen=True) for _ in range(50)]
    assert {theme.family for theme in kept} == {UNSEEN_FAMILY}
    assert {theme.font for theme in kept} == set(UNSEEN_FONTS)
    assert not set(FONTS) & set(UNSEEN_FONTS)
    assert UNSEEN_FAMILY not in FAMILIES
    assert not {icon.unseen for icon in icons()} & {sign for i in icons() for sign in i.glyphs}


@pytest.mark.parametrize("words", ["known", "unseen"])
def test_training_seeds_get_no_words_of_evaluation(words: str) -> None:
    with pytest.raises(UsageError, match="held-out pages only"):
        page(0, PageStyle(words=words))  # type: ignore[arg-type]


def test_questions_are_answered_by_what_they_name() -> None:
    forms: Counter[str] = Counter()
    quoted = 0
    for index in range(150):
        drawn = page(index)
        texts = {t.text.lower() for t in drawn.things if t.text}
        for question in asked(drawn):
            forms[question.form] += 1
            targets = [drawn.things[i] for i in question.targets]
            query = question.query.lower().removeprefix("the ")
            if question.form in ("label", "label and role"):
                assert {t.text.lower() for t in targets} == {question.label.lower()}
                named = query.replace('"', "")
                assert named.startswith(question.label.lower()) or named.endswith(
                    question.label.lower()
                )
                quoted += '"' in query
            if question.form.startswith("absent"):
                assert not targets
                assert question.label.lower() not in texts
                if question.label:
                    assert letter_targets(question.label) not in map(letter_targets, texts)
            elif question.form == "role":
                kinds = {t.kind for t in targets}
                assert len(kinds) == 1
                names = {name for pair in kinds.pop().names for name in pair}
                assert query in names
            elif question.form == "icon":
                assert all(t.kind.family == "icon" for t in targets)
            assert all(t.visible for t in targets)
            assert question.query in question.prompt
    absent = {"absent label", "absent look-alike", "absent role"}
    assert set(forms) == {"label", "label and role", "role", "position", "icon", *absent}
    share = sum(forms[form] for form in absent) / forms.total()
    assert 0.25 < share < 0.5
    assert 0.1 < quoted / (forms["label"] + forms["label and role"]) < 0.3


def test_roles_and_icons_have_names_of_their_own() -> None:
    assert len(ROLES) >= 8
    assert len(icons()) >= 20
    for icon in icons():
        assert icon.glyphs
        assert icon.unseen
        assert icon.words


@pytest.mark.parametrize("style", [{"sizes": ()}, {"sizes": ((20, 200),)}, {"text": (14, 9)}])
def test_a_style_that_cannot_be_drawn_is_refused(style: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected sizes"):
        PageStyle(**style)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def browser() -> Iterator[PageBrowser]:
    pytest.importorskip("playwright", exc_type=ImportError)
    if not any(map(shutil.which, NAMES)):
        pytest.skip(f"no Chromium (looked for {', '.join(NAMES)})")
    with PageBrowser() as opened:
        yield opened


def test_chromium_draws_the_same_page_again(browser: PageBrowser) -> None:
    style = PageStyle(sizes=((320, 240),), words="unseen")
    one, other = (browser.draw(held_out_seed(5), style) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert one.things == other.things
    assert one.image.shape == (240, 320, 3)


def test_a_browser_that_died_costs_one_page(browser: PageBrowser) -> None:
    before = browser.draw(held_out_seed(1), STYLE)
    assert browser._browser is not None
    browser._browser.close()
    with pytest.raises(BrowserFailed, match="could not be rendered"):
        browser.draw(held_out_seed(0), STYLE)
    assert np.array_equal(browser.draw(held_out_seed(1), STYLE).image, before.image)


def test_chromium_shows_every_control_where_it_says(browser: PageBrowser) -> None:
    """The image itself is looked at: in the box of a control something is drawn."""
    roles: Counter[str] = Counter()
    for index in range(8):
        drawn = browser.draw(held_out_seed(index), PageStyle(sizes=((336, 336),), words="known"))
        for number, thing in enumerate(drawn.things):
            if not thing.visible:
                continue
            roles[thing.kind.glyph if thing.kind.family == "control" else "icon"] += 1
            x, y = thing.point
            assert drawn.owner[int(y), int(x)] == number
            left, top, right, bottom = (round(edge) for edge in thing.box)
            part = drawn.image[top:bottom, left:right].astype(int).sum(-1)
            assert part.max() - part.min() > 60, thing
    assert len(roles) >= 8


def test_a_page_of_evaluation_has_words_never_trained_on(browser: PageBrowser) -> None:
    for index in range(3):
        drawn = browser.draw(held_out_seed(index), PageStyle(sizes=((224, 224),), words="unseen"))
        labels = [t.text for t in drawn.things if t.text]
        assert labels
        assert all(any(map(is_kept, label.split())) for label in labels)


def test_what_a_dialog_covers_is_not_asked_for(
    browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molmo_point.synthetic.pages.html.DIALOGS", 1.0)
    style = PageStyle(sizes=((336, 336),))
    for index in range(6):
        drawn = browser.draw(training_seed(0, "dialogs", index), style)
        over = [thing for thing in drawn.things[-9:] if thing.visible]
        assert any(thing.kind.name == "button" for thing in over)
        left, top = (min(thing.box[axis] for thing in over) for axis in (0, 1))
        right, bottom = (max(thing.box[axis] for thing in over) for axis in (2, 3))
        for thing in drawn.things:
            x, y = thing.point
            if thing not in over and left < x < right and top < y < bottom:
                assert not thing.visible
        # Behind the veil nothing can be pressed.
        assert all(thing in over for thing in drawn.things if thing.visible)


def test_a_sentence_that_names_a_control_is_none(
    browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("DIALOGS", "PANELS"):
        monkeypatch.setattr(f"molmo_point.synthetic.pages.html.{part}", 0.0)
    style = PageStyle(sizes=((336, 336),))
    for index in range(6):
        seed = training_seed(0, "mentions", index)
        monkeypatch.setattr("molmo_point.synthetic.pages.html.MENTIONS", 0.0)
        without = browser.draw(seed, style)
        monkeypatch.setattr("molmo_point.synthetic.pages.html.MENTIONS", 1.0)
        named = browser.draw(seed, style)
        assert [t.text for t in named.things] == [t.text for t in without.things]
        # It stands on top, and what is below has moved down with its regions.
        first = next(index for index, thing in enumerate(without.things) if thing.visible)
        down = named.things[first].box[1] - without.things[first].box[1]
        assert down > 5
        assert not (named.owner[: int(down) - 2] != -1).any()


def test_panels_and_closing_signs_are_for_training_only(
    browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molmo_point.synthetic.pages.html.DIALOGS", 1.0)
    style = PageStyle(sizes=((336, 336),))
    drawn: dict[float, list[Scene]] = {}
    for share in (0.0, 1.0):
        for part in ("PANELS", "CLOSERS"):
            monkeypatch.setattr(f"molmo_point.synthetic.pages.html.{part}", share)
        seeds = [training_seed(0, "panels", 0), held_out_seed(0), held_out_seed(1)]
        drawn[share] = [browser.draw(seed, style) for seed in seeds]
    with_all, without = drawn[1.0], drawn[0.0]
    closing = [t for t in with_all[0].things if t.kind.name == "close icon"]
    assert [thing.visible for thing in closing] == [1]
    assert not [t for t in without[0].things if t.kind.name == "close icon"]
    for one, other in zip(with_all[1:], without[1:], strict=True):
        assert np.array_equal(one.image, other.image)


def test_some_training_pages_are_nearly_empty(
    browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = PageStyle(sizes=((336, 336),), text=(10, 12))
    before = browser.draw(held_out_seed(3), style)
    full = browser.draw(training_seed(0, "sparse", 3), style)
    monkeypatch.setattr("molmo_point.synthetic.pages.browser.SPARSE", 1.0)
    sparse = [browser.draw(training_seed(0, "sparse", index), style) for index in range(8)]
    assert len(sparse[3].things) != len(full.things)
    highest = [min(t.box[1] for t in drawn.things if t.visible) for drawn in sparse]
    assert max(highest) > 100
    # Pages of evaluation are what they were.
    assert np.array_equal(browser.draw(held_out_seed(3), style).image, before.image)


def test_pages_of_evaluation_wear_a_framework_that_training_never_sees(
    browser: PageBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    worn: list[str] = []

    def drawn(rng: np.random.Generator, unseen: bool) -> Framework | None:
        framework = draw_framework(rng, unseen)
        worn.extend([framework.name] if framework else [])
        return framework

    monkeypatch.setattr("molmo_point.synthetic.pages.browser.draw_framework", drawn)
    for index in range(12):
        browser.draw(training_seed(0, "frameworks", index), STYLE)
    assert worn
    assert "pico" not in worn
    worn.clear()
    for index in range(12):
        browser.draw(held_out_seed(index), STYLE)
    assert set(worn) == {"pico"}


def test_the_point_of_a_field_is_in_the_field_not_in_its_label() -> None:
    boxes = [[0, 5.0, 5.0, 45.0, 15.0, True, False], [0, 5.0, 20.0, 95.0, 40.0, True, True]]
    image = np.zeros((60, 100, 3), np.uint8)
    (thing,) = _scene(
        held_out_seed(0), image, [Control("control", "field", "Email")], boxes
    ).things
    assert thing.point == (50.0, 30.0)
    assert thing.box == (5.0, 5.0, 95.0, 40.0)
    assert thing.visible == 1


@pytest.mark.parametrize(
    "box",
    [
        [0, -1.0, 5, 45, 15, True, True],
        [0, 5.0, 5, 45, 61, True, True],
        [0, 5.0, 5, 45, 15, False, True],
    ],
)
def test_what_is_cut_off_or_covered_is_not_asked_for(box: list[object]) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    (thing,) = _scene(held_out_seed(0), image, [Control("control", "link", "More")], [box]).things
    assert thing.visible == 0


def test_what_has_no_pixel_of_its_own_is_not_asked_for() -> None:
    boxes = [[0, 5.0, 5.0, 45.0, 15.0, True, False], [1, 4.0, 4.0, 50.0, 20.0, True, False]]
    image = np.zeros((60, 100, 3), np.uint8)
    controls = [Control("control", "link", "More"), Control("control", "button", "Save")]
    covered, above = _scene(held_out_seed(0), image, controls, boxes).things
    assert (covered.visible, above.visible) == (0, 1)


def test_a_closed_browser_says_so() -> None:
    with pytest.raises(UsageError, match="is closed"):
        PageBrowser().draw(held_out_seed(0), STYLE)
