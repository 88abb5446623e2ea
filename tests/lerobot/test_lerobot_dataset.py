"""Language rows of LeRobot datasets: which frames, which pixels, what is left out; LeRobot's own loader where it is installed.

For that: `python3.12 -m venv .venvs/lerobot` with `pip install "lerobot[dataset]"` (0.6 needs Python 3.12) and an empty file
`.ready` in it; `MOLMO_ENGINE_ENVS` names another folder than `.venvs`.
"""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from molmo_point.cli.app import build
from molmo_point.errors import UsageError
from molmo_point.images import load_image
from molmo_point.lerobot_dataset import Asking, annotate
from molmo_point.points import Point, Pointing, Status
from tests.environments import environment

pa = pytest.importorskip("pyarrow", reason="pyarrow (the extra lerobot) is not installed")
import pyarrow.parquet as pq  # noqa: E402

CAMERA = "observation.images.top"
SCRIPT = Path(__file__).parent / "with_lerobot.py"
ROOT = Path(__file__).resolve().parents[2]
FRAMES = 12


class Brightness:
    """Points at x = brightness / 255: "mug" once, "mugs" twice, "dog" not at all; "odd" is not readable, "faint" uncertain."""

    model = "brightness"

    def point(self, image: Any, query: str, **_: Any) -> Pointing:
        array = load_image(image)
        x = round(float(array.mean())) / 255
        number = {"mug": 1, "faint": 1, "mugs": 2}.get(query, 0)
        points = tuple(
            Point(x=x, y=0.5 + 0.25 * n, score=0.2 if query == "faint" else 0.8 + 0.1 * n, index=n)
            for n in range(number)
        )
        status = (
            Status.MALFORMED if query == "odd" else Status.FOUND if points else Status.NOT_FOUND
        )
        size = (array.shape[1], array.shape[0])
        return Pointing(
            query=query, points=points, status=status, image_size=size, model=self.model
        )


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((96, 128, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two episodes of 12 frames at 10 Hz, images in the table, in LeRobot's layout."""
    folder = tmp_path / "set"
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    features = {
        CAMERA: {"dtype": "image", "shape": [96, 128, 3]},
        "timestamp": {"dtype": "float32", "shape": [1]},
    }
    info = {"codebase_version": "v3.0", "fps": 10, "features": features}
    (folder / "meta/info.json").write_text(json.dumps(info))
    rows = [(episode, number) for episode in range(2) for number in range(FRAMES)]
    table = pa.table(
        {
            CAMERA: [{"bytes": png(10 * n + 100 * e), "path": None} for e, n in rows],
            "timestamp": pa.array([n / 10 for _, n in rows], pa.float32()),
            "episode_index": [e for e, _ in rows],
        }
    )
    pq.write_table(table, folder / "data/chunk-000/file-000.parquet")
    return folder


def events_of(folder: Path) -> list[list[dict[str, Any]]]:
    table = pq.ParquetFile(folder / "data/chunk-000/file-000.parquet").read()
    return [list(each or []) for each in table.column("language_events").to_pylist()]


def test_rows_have_the_pixels_of_their_own_frame(dataset: Path, tmp_path: Path) -> None:
    before = (dataset / "data/chunk-000/file-000.parquet").read_bytes()
    asking = Asking(("mug", "mugs"), ("keypoint", "bbox"), box_px=20)
    out = tmp_path / "out"
    report = annotate(dataset, out, Brightness(), asking, every_s=0.5)
    assert (report.asked, report.skipped) == (6, [])
    assert report.written == {"keypoint": 2, "count": 2, "bbox": 2}
    events = events_of(out)
    assert [n for n, each in enumerate(events) if each] == [0, 5, 10, 12, 17, 22]
    question = events[22][0]
    assert (question["role"], question["style"], question["camera"]) == ("user", "vqa", CAMERA)
    heard = [json.loads(events[row][1]["content"]) for row in (12, 17, 22)]
    assert heard[1] | {"label": "mug"} == {
        "label": "mug", "point_format": "xy", "point": [round(150 / 255 * 128, 2), 48.0],
        "image_size": [128, 96], "score": 0.8, "model": "brightness",
    }  # fmt: skip
    assert (heard[2]["count"], heard[2]["score"]) == (2, 0.8)
    low, high = heard[0]["detections"]
    x = 100 / 255 * 128
    assert low["bbox"] == [round(x - 10, 2), 38.0, round(x + 10, 2), 58.0]
    assert high["bbox"][3] == 82.0
    assert (dataset / "data/chunk-000/file-000.parquet").read_bytes() == before
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["language_events"]["dtype"] == "language"
    metadata = pq.ParquetFile(out / "data/chunk-000/file-000.parquet").metadata
    assert metadata.num_row_groups == 2


def test_what_is_not_known_has_no_row(dataset: Path, tmp_path: Path) -> None:
    asking = Asking(("odd", "faint", "dog"), min_score=0.5)
    report = annotate(dataset, tmp_path / "out", Brightness(), asking, every_s=0.4)
    assert [skip[3] for skip in report.skipped[:2]] == [
        "the answer is malformed",
        "a score of 0.2 is below 0.5",
    ]
    assert report.written == {"count": 2}
    again = annotate(
        tmp_path / "out", tmp_path / "more", Brightness(), Asking(("mug",)), every_s=0.0
    )
    # One question for each frame and camera at most: two frames have theirs already.
    assert again.asked == 2 * FRAMES - 2


def test_one_damaged_image_costs_the_others_nothing(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "data/chunk-000/file-000.parquet"
    table = pq.ParquetFile(path).read().to_pydict()
    table[CAMERA][0] = {"bytes": b"no image", "path": None}
    table[CAMERA][1] = {"bytes": None, "path": None}
    pq.write_table(pa.table(table), path)
    report = annotate(dataset, tmp_path / "out", Brightness(), Asking(("mug",)), every_s=0.0)
    assert [skip[1] for skip in report.skipped] == [0, 1]
    assert "has no image in row 1" in report.skipped[1][3]
    assert sum(report.written.values()) == 2 * FRAMES - 2


def test_frames_of_videos_are_those_of_their_times(dataset: Path, tmp_path: Path) -> None:
    """Both episodes in one file; the second starts at 1.2 s."""
    av = pytest.importorskip("av", reason="PyAV (the extra lerobot) is not installed")
    info = json.loads((dataset / "meta/info.json").read_text())
    info["features"][CAMERA]["dtype"] = "video"
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (dataset / "meta/info.json").write_text(json.dumps(info))
    path = dataset / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for value in [10 * n + 100 * e for e in range(2) for n in range(FRAMES)]:
            frame = av.VideoFrame.from_ndarray(
                np.full((96, 128, 3), value, np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (dataset / "meta/episodes").mkdir()
    head = f"videos/{CAMERA}/"
    episodes = {"episode_index": [0, 1], f"{head}chunk_index": [0, 0], f"{head}file_index": [0, 0]}
    episodes[f"{head}from_timestamp"] = [0.0, 1.2]
    pq.write_table(pa.table(episodes), dataset / "meta/episodes/a.parquet")
    report = annotate(
        dataset, tmp_path / "out", Brightness(), Asking(("mug",), ("keypoint",)), every_s=0.5
    )
    assert report.skipped == []
    found = [
        json.loads(each[1]["content"])["point"][0] for each in events_of(tmp_path / "out") if each
    ]
    # Compression moves greys a little; the next frame is 5 pixels away.
    expected = [value / 255 * 128 for value in (0, 50, 100, 100, 150, 200)]
    assert found == pytest.approx(expected, abs=1.6)
    path.write_bytes(b"no video")
    report = annotate(dataset, tmp_path / "none", Brightness(), Asking(("mug",)), every_s=0.5)
    assert (report.asked, len(report.skipped)) == (0, 6)
    assert "cannot be decoded" in report.skipped[0][3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "version 3, got 'v2.1'"),
        ({"features": {"action": {"dtype": "float32"}}}, "no cameras"),
        ({"fps": None}, "features and fps"),
    ],
)
def test_other_datasets_are_refused(
    change: dict[str, Any], message: str, dataset: Path, tmp_path: Path
) -> None:
    path = dataset / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=message):
        annotate(dataset, tmp_path / "out", Brightness(), Asking(("mug",)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["set"]


def test_bad_arguments_leave_nothing_behind(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a camera of observation\.images\.top, got 'left'"):
        annotate(dataset, tmp_path / "out", Brightness(), Asking(("mug",)), cameras=["left"])
    with pytest.raises(UsageError, match="exists"):
        annotate(dataset, dataset, Brightness(), Asking(("mug",)))
    for wrong in ({"kinds": ("mask",)}, {"kinds": ("bbox",)}, {"queries": ("",)}):
        with pytest.raises(UsageError):
            Asking(**{"queries": ("mug",), **wrong})
    (dataset / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read"):
        annotate(dataset, tmp_path / "out", Brightness(), Asking(("mug",)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["set"]


def test_the_command_annotates_with_a_model(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = [
        "lerobot",
        str(dataset),
        "--query",
        "red square",
        "--every",
        "2",
        "--out",
        str(out),
        "--json",
    ]
    done = CliRunner().invoke(build(), line)
    heard = json.loads(done.stdout.splitlines()[-1])
    assert heard["asked"] == 2
    assert (done.exit_code == 0) is bool(heard["written"])
    assert len(heard["skipped"]) + sum(heard["written"].values()) == 2


@pytest.mark.parametrize("dtype", ["video", "image"])
def test_lerobots_own_loader_takes_the_rows(dtype: str, tmp_path: Path) -> None:
    python = environment("lerobot", "see the head of this file") / "bin/python"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run("make", str(tmp_path / "set"), dtype)
    asking = Asking(("mug", "dog"), ("keypoint", "bbox"), box_px=20)
    report = annotate(tmp_path / "set", tmp_path / "out", Brightness(), asking, every_s=0.5)
    assert report.skipped == []
    heard = json.loads(run("read", str(tmp_path / "out")).splitlines()[-1])
    assert heard["language"] is True
    asked = [each for each in heard["events"] if each["rows"]]
    assert [each["kinds"] for each in asked] == [
        [k] for k in ("keypoint", "count", "bbox", "bbox", "keypoint", "count")
    ]
    for each in asked:
        answer = json.loads(each["rows"][1]["content"])
        if "point" in answer:
            # The pixel that the row names is that of the frame that LeRobot decodes beside it.
            assert answer["point"][0] == pytest.approx(each["brightness"] / 255 * 128, abs=1.0)
