"""Scenes: the same seed gives the same image, and the ground truth is where the pixels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.errors import UsageError
from molmo_point.synthetic.scenes import augment as weather
from molmo_point.synthetic.scenes import backgrounds, fonts
from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds, kinds_named, plural
from molmo_point.synthetic.scenes.scene import NOTHING, Scene, Style, draw_scene
from molmo_point.synthetic.scenes.solids import POSES, SOLIDS, solid
from molmo_point.synthetic.scenes.sprites import PATTERNS, SIDE, sprite
from molmo_point.synthetic.splits import held_out_seed, training_seed

SMALL = Style(sizes=((160, 120), (120, 160)), things=(0, 9), scale=(0.12, 0.4))


def scene(index: int, style: Style = SMALL) -> Scene:
    return draw_scene(training_seed(0, "test", index), style)


def test_the_same_seed_draws_the_same_scene() -> None:
    for index in range(8):
        one, other = scene(index), scene(index)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.owner, other.owner)
        assert one.things == other.things


def test_other_seeds_draw_other_scenes() -> None:
    assert not np.array_equal(scene(1).owner, scene(2).owner)


@given(st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_every_point_lies_on_its_thing(index: int) -> None:
    drawn = scene(index)
    height, width = drawn.owner.shape
    assert drawn.image.shape == (height, width, 3)
    for number, thing in enumerate(drawn.things):
        if thing.visible > 0:
            x, y = thing.point
            assert drawn.owner[min(int(y), height - 1), min(int(x), width - 1)] == number
            left, top, right, bottom = thing.box
            rows, columns = np.nonzero(drawn.region(number))
            assert (left, right) == (columns.min(), columns.max() + 1)
            assert (top, bottom) == (rows.min(), rows.max() + 1)
        else:
            assert not drawn.region(number).any()


@given(st.integers(0, 2**40))
@settings(max_examples=20, deadline=None)
def test_regions_and_background_cover_the_image_once(index: int) -> None:
    drawn = scene(index)
    covered = sum(drawn.region(number).astype(int) for number in range(len(drawn.things)))
    assert np.array_equal(
        np.asarray(covered) + (drawn.owner == NOTHING), np.ones_like(drawn.owner)
    )


def test_the_owner_map_is_where_the_image_changes() -> None:
    """Draw a scene without things from the same numbers: the images differ on the things and nowhere else."""
    flat = np.full((120, 160, 3), 255, np.float32)
    one = Style(sizes=((160, 120),), things=(3, 3), scale=(0.2, 0.3), families=(("emoji", 1.0),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("molmo_point.synthetic.scenes.scene.background", lambda *_: flat.copy())
        patch.setattr("molmo_point.synthetic.scenes.scene.corrupt_image", lambda image, _: image)
        scenes = [draw_scene(seed, one) for seed in range(20)]
    changed = np.stack([(drawn.image != 255).any(-1) for drawn in scenes])
    owned = np.stack([drawn.owner != NOTHING for drawn in scenes])
    # Soft edges, thin strings and white parts of a thing may differ, whole things may not.
    assert (changed & owned).sum() > 0.8 * owned.sum()
    assert (changed & ~owned).sum() < 0.2 * owned.sum()


def test_all_names_are_different_things() -> None:
    names: dict[str, str] = {}
    for kind in all_kinds():
        for word in {name for pair in kind.names for name in pair}:
            assert names.setdefault(word, kind.name) == kind.name, word
    assert len(all_kinds()) >= 60
    assert len([kind for kind in all_kinds() if kind.family == "emoji"]) >= 60


def test_every_kind_can_be_drawn() -> None:
    drawn = [kind for kind in all_kinds() if kind.family not in ("control", "icon")]
    assert len(drawn) >= 200
    for kind in drawn:
        look = sprite(kind, "red" if kind.coloured else None)
        assert max(look.image.size) == SIDE
        assert look.silhouette.size == look.image.size
        # At least a tenth of its frame is covered, and what shows is inside the silhouette.
        inside = np.asarray(look.silhouette) > 0
        assert inside.mean() > 0.1, kind.name
        assert inside[np.asarray(look.image.getchannel("A")) > 200].all(), kind.name


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("pose", range(POSES))
def test_solids_are_whole_and_shaded(name: str, pose: int) -> None:
    image = np.asarray(solid(name, (200, 40, 40), pose, 64)).astype(int)
    seen = image[..., 3] > 127
    assert seen[28:36, 28:36].all()
    assert not np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]]).any()
    # A convex thing is seen in one piece in every row, and is lit from one side.
    for row in seen:
        at = np.nonzero(row)[0]
        assert len(at) == 0 or len(at) == at[-1] - at[0] + 1
    red = image[..., 0][seen]
    assert np.percentile(red, 95) > 1.4 * np.percentile(red, 5)
    assert (image[..., 0] >= image[..., 1])[seen].all()


def test_a_sphere_is_round() -> None:
    seen = np.asarray(solid("sphere", (200, 40, 40), 0, 96))[..., 3] > 127
    y, x = np.nonzero(seen)
    assert seen.sum() == pytest.approx(np.pi * 32**2, rel=0.02)
    assert np.hypot(x - 47.5, y - 47.5).max() < 33


def test_a_solid_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="a solid of sphere"):
        solid("torus", (1, 2, 3), 0, 16)


def test_no_two_emoji_look_the_same() -> None:
    """A font too old for a glyph draws one and the same box for it."""
    looks = {}
    for kind in all_kinds():
        if kind.family == "emoji":
            pixels = sprite(kind).image.resize((16, 16)).tobytes()
            assert pixels not in looks, (kind.name, looks.get(pixels))
            looks[pixels] = kind.name


def test_patterns_and_colours_show() -> None:
    (shape,) = kinds_named(("square",))
    looks = {
        np.asarray(sprite(shape, colour, pattern).image).tobytes()
        for colour in COLOURS
        for pattern in PATTERNS
    }
    assert len(looks) == len(COLOURS) * len(set(PATTERNS))


def test_the_hole_of_a_ring_belongs_to_it() -> None:
    (ring,) = kinds_named(("ring",))
    look = sprite(ring, "blue")
    middle = (look.image.width // 2, look.image.height // 2)
    assert look.image.getpixel(middle)[3] == 0
    assert look.silhouette.getpixel(middle) == 255


@pytest.mark.parametrize(
    ("word", "several"),
    [("dog", "dogs"), ("cherry", "cherries"), ("box", "boxes"), ("key", "keys"), ("bus", "buses")],
)
def test_plurals(word: str, several: str) -> None:
    assert plural(word) == several


def test_a_colour_is_needed_and_named() -> None:
    (shape,) = kinds_named(("circle",))
    with pytest.raises(UsageError, match="needs a colour"):
        sprite(shape, "reddish")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unicorn.*dog"):
        kinds_named(("unicorn",))


def test_a_style_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="smallest <= largest"):
        Style(scale=(0.5, 0.2))


def test_photographs_of_training_and_evaluation_differ() -> None:
    folder = Path(backgrounds.__file__).parent / "photos"
    names = {path.name for path in folder.glob("*.jpg")}
    kept = {name for name in names if name.startswith(backgrounds.HELD_OUT)}
    assert kept
    assert names - kept
    pixels = [
        {photo.tobytes() for photo in backgrounds._photographs(held_out)}
        for held_out in (True, False)
    ]
    assert len(pixels[0]) == len(kept)
    assert not pixels[0] & pixels[1]


def test_the_seed_decides_which_photographs_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def record(rng: np.random.Generator, width: int, height: int, held_out: bool) -> np.ndarray:
        asked.append(held_out)
        return np.zeros((height, width, 3), np.float32)

    monkeypatch.setattr("molmo_point.synthetic.scenes.scene.background", record)
    draw_scene(held_out_seed(0), SMALL)
    draw_scene(training_seed(0, "x", 0), SMALL)
    assert asked == [True, False]


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_weather_moves_nothing(seed: int) -> None:
    """A bright square stays brighter than its surroundings, at its place."""
    image = np.full((40, 60, 3), 60, np.uint8)
    image[10:20, 30:50] = 200
    out = weather.corrupt_image(image, np.random.default_rng(seed))
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    inside = out[12:18, 33:47].mean()
    for outside in (out[:7], out[23:], out[:, :27], out[:, 53:]):
        assert inside > outside.mean() + 40


def test_a_missing_font_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "FONT_FOLDERS", (tmp_path,))
    fonts.find_font.cache_clear()
    fonts.emoji_font.cache_clear()
    try:
        with pytest.raises(fonts.MissingFont, match="apt-get install fonts-noto-color-emoji"):
            fonts.emoji_font()
    finally:
        fonts.find_font.cache_clear()


def test_without_text_fonts_pillows_own_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fonts, "FONT_FOLDERS", (tmp_path,))
    fonts.find_font.cache_clear()
    fonts.text_fonts.cache_clear()
    try:
        assert len(fonts.text_fonts(32)) == 1
    finally:
        fonts.find_font.cache_clear()
        fonts.text_fonts.cache_clear()
