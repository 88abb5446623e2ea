"""What users get wrong: one clear line on stderr, exit code 2, nothing on stdout."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from molmo_point.install import install_line, missing
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


def _huge_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def lot(tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the current one, with everything that can be wrong with an image."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image at all")
    (tmp_path / "short.png").write_bytes(photo.read_bytes()[:900])
    (tmp_path / "huge.png").write_bytes(_huge_png())
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    return tmp_path


GOLDEN = Path(__file__).parents[1] / "golden"
IMAGES = [
    (("point", "text.png", "mug"), "text.png is not an image that can be read"),
    (("point", "short.png", "mug"), "short.png is damaged or cut short"),
    (("point", "huge.png", "mug"), "huge.png"),
    (("point", "zero.png", "mug"), "zero.png is empty"),
    (("point", "gone.png", "mug"), "there is no file gone.png: check the path"),
    (("point", "gone*.png", "mug"), "no file matches gone*.png"),
    (("point", "empty", "mug"), "there is no image in the folder empty"),
    (("point", "data:image/png;base64,@", "mug"), "base64 is damaged"),
    (("point", "x" * 4000, "--query", "mug"), "cannot be read"),
    (("count", "table.png", ""), "the query is empty"),
    (("point", "table.png", "  "), "the query is empty"),
    (("ask", "table.png", " "), "the query is empty"),
    (("point", "table.png", "m" * 5000), "shorten it"),
    (("point", "table.png"), "expected images and a query, got 'table.png'"),
    (("point", "table.png", "text.png"), "give the query with --query"),
    (("point", "-", "-", "mug"), "stdin can be read once"),
    (("point", "table.png", "mug", "--connect", "tcp://a:1", "--model", "nano"), "leave --model out"),
    (("point", "table.png", "mug", "--key", "k.json"), "give its address with --connect"),
    (("ask", "gone.png", "What?"), "there is no file gone.png"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), IMAGES)
def test_images_and_words(
    run: Run, stage: Stage, lot: Path, words: tuple[str, ...], said: str
) -> None:
    stage.pointer = FakePointer({"mug": [(0.5, 0.5)]})
    ran = run(*words, stdin=(lot / "table.png").read_bytes())
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.startswith("molmo-point: ")
    assert ran.err.count("\n") == 1
    assert stage.opened == [], "a model was loaded for nothing"


@pytest.mark.parametrize(
    "words",
    [
        ("point", "a.png", "b", "--nonsense"),
        ("pint",),
        ("count", "a.png", "b", "--timeout", "soon"),
    ],
)
def test_unknown_options_and_commands(run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_an_empty_stdin(run: Run, stage: Stage, lot: Path) -> None:
    ran = run("point", "-", "mug", stdin=b"")
    assert ran.code == 2
    assert "stdin is empty" in ran.err


def test_models_that_are_none(run: Run, photo: Path, tmp_path: Path) -> None:
    """With the real `load`: the library's own words come through."""
    pytest.importorskip("torch", exc_type=ImportError)
    tiny = GOLDEN / "models/tiny-d"
    bare, pickled = tmp_path / "bare", tmp_path / "pickled"
    for folder in (bare, pickled):
        folder.mkdir()
        (folder / "config.json").write_text((tiny / "config.json").read_text())
    (bare / "model.safetensors").symlink_to(tiny / "model.safetensors")
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (pickled / name).symlink_to(tiny / name)
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in tiny.iterdir():
        (cut / path.name).symlink_to(path)
    (cut / "model.safetensors").unlink()
    (cut / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:5000])
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "llama"}))
    for model, said in (
        ("molmo-7b-e", "molmo-7b-d"),
        (str(bare), "tokenizer.json"),
        (str(pickled), "safetensors"),
        (str(cut), "model.safetensors"),
        (str(other), "llama"),
        (str(tmp_path / "nowhere"), "nowhere"),
    ):
        ran = run("point", photo, "mug", "--model", model)
        assert (ran.code, ran.out) == (2, ""), (model, ran)
        assert said in ran.err, model
        assert "Traceback" not in ran.err


def test_debug_shows_where_an_error_came_from(
    lot: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molmo_point import cli
    from molmo_point.errors import ImageError

    with pytest.raises(ImageError):
        cli.main(["point", "gone.png", "mug", "--debug"])
    monkeypatch.setenv("MOLMO_POINT_DEBUG", "1")
    with pytest.raises(ImageError):
        cli.main(["point", "gone.png", "mug"])


def test_a_missing_extra_says_what_to_type(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise missing("torch", "engine", "Running a model in this process")

    monkeypatch.setattr("molmo_point.api.load", load)
    ran = run("point", photo, "mug")
    assert ran.code == 2
    assert install_line("engine") in ran.err


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_typer_or_rich(run: Run, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    ran = run("models")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert f"'{package}'" in ran.err
    assert install_line() in ran.err
