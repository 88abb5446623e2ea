"""Text files in the encodings that users have, and lines of JSON that contain other line breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.checkpoints.folder import read_json
from molmo_point.cli.count_inputs import _lines
from molmo_point.convert import from_csv, from_jsonl
from molmo_point.datasets import read_labelled
from molmo_point.text_files import json_lines, read_text

ENCODINGS = {
    "plain": lambda text: text.encode(),
    "mark": lambda text: text.encode("utf-8-sig"),
    "PowerShell": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "big endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}
QUERY = "café\u2028\u0085mugs"
LINE = {"image": "a.png", "query": QUERY, "boxes": [[0.1, 0.1, 0.4, 0.5]]}


@pytest.fixture(params=ENCODINGS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], Path]:
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "a.png")

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(ENCODINGS[request.param](text))
        return path

    return write


def test_text_is_the_same_in_every_encoding(write: Callable[[str, str], Path]) -> None:
    assert read_text(write("a.txt", "é\nb\n")) == "é\nb\n"


def test_another_encoding_is_refused_and_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("café".encode("latin-1"))
    with pytest.raises(UnicodeDecodeError):
        read_text(path)


def test_only_a_newline_ends_a_line_of_json() -> None:
    text = json.dumps({"a": QUERY}, ensure_ascii=False) + "\n\n" + json.dumps({"b": 1}) + "\n"
    assert [(n, json.loads(line)) for n, line in json_lines(text)] == [(1, {"a": QUERY}), (3, {"b": 1})]  # fmt: skip


def test_labelled_images_and_questions(write: Callable[[str, str], Path]) -> None:
    line = json.dumps(LINE, ensure_ascii=False)
    path = write("labels.jsonl", f"{line}\n{line}\n")
    assert [item.query for item in read_labelled(path).items] == [QUERY, QUERY]


def test_a_json_file_of_labels(write: Callable[[str, str], Path]) -> None:
    image = {"id": 1, "file_name": "a.png", "width": 80, "height": 40}
    keypoints = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [20, 10, 2]}
    content: dict[str, Any] = {
        "images": [image],
        "categories": [{"id": 1, "name": "café"}],
        "annotations": [keypoints],
    }
    path = write("coco.json", json.dumps(content, ensure_ascii=False))
    assert [item.query for item in read_labelled(path).items] == ["café"]


def test_answers_of_the_command_line(write: Callable[[str, str], Path]) -> None:
    answer = {"image": "a.png", "query": QUERY, "status": "not_found", "image_size": [80, 40]}
    line = json.dumps(answer, ensure_ascii=False)
    path = write("points.jsonl", f"{line}\n{line}\n")
    for source in (path, path.read_bytes()):
        answers = from_jsonl(source)
        assert [pointing.query for pointing in answers] == [QUERY, QUERY]
        assert not answers.skipped
    assert [pointing.query for pointing in from_jsonl("\ufeff" + line)] == [QUERY]


def test_a_damaged_line_of_answers_loses_no_other(tmp_path: Path) -> None:
    line = b'{"query": "mug", "status": "not_found", "image_size": [80, 40]}\n'
    (tmp_path / "points.jsonl").write_bytes(line + b'{"query": "caf\xe9"}\n' + line)
    answers = from_jsonl(tmp_path / "points.jsonl")
    assert len(answers) == 2
    assert [entry.annotation for entry in answers.skipped] == ["2"]


def test_a_list_of_images(write: Callable[[str, str], Path]) -> None:
    path = write("list.txt", "a\u2028b.png\n# no image\n\ncafé.png\n")
    assert _lines(str(path)) == ["a\u2028b.png", "café.png"]


def test_a_table_and_a_configuration(write: Callable[[str, str], Path]) -> None:
    path = write("points.csv", "file,query,x,y,width,height\na.png,café,0.5,0.25,80,40\n")
    assert [pointing.query for pointing in from_csv(path)] == ["café"]
    assert read_json(write("config.json", '{"name": "café"}')) == {"name": "café"}
