"""`molmo-point bag` as a command, and its file for Rerun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from molmo_robot.bag.annotate import Task
from molmo_robot.dds.types import RosTypes
from recordings import answer, decoded, record
from robot_scene import find_ball

from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer


@pytest.fixture
def bag(types: RosTypes, tmp_path: Path) -> Any:
    record(types, tmp_path / "in")
    return tmp_path / "in"


def test_the_command(
    types: RosTypes, bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer
    from molmo_robot.cli.bag import register
    from typer.testing import CliRunner

    from molmo_point import api

    monkeypatch.setattr(api, "load", lambda *a, **k: FakePointer(find_ball), raising=False)
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    arguments = [
        "bag",
        bag,
        "--query",
        "ball",
        "--image",
        "/camera/image",
        "--out",
        tmp_path / "out.mcap",
    ]
    arguments += [
        "--info",
        "/camera/camera_info",
        "--depth",
        "/camera/depth",
        "--target-frame",
        "odom",
    ]
    arguments += ["--every", "5", "--json", "--set", "depth_strategy=median"]
    found = CliRunner().invoke(app, [str(a) for a in arguments])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["points"] == 2
    message = decoded(types, tmp_path / "out.mcap", "/molmo_point/points")[0][1]
    assert message.position_header.frame_id == "odom"
    arguments[3] = " "
    refused = CliRunner().invoke(app, [str(a) for a in arguments])
    assert isinstance(refused.exception, UsageError)


def test_nothing_found_is_exit_code_3(
    types: RosTypes, bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer
    from molmo_robot.cli.bag import register
    from typer.testing import CliRunner

    from molmo_point import api

    monkeypatch.setattr(api, "load", lambda *a, **k: FakePointer({}), raising=False)
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    arguments = [
        "bag",
        bag,
        "--query",
        "cat",
        "--image",
        "/camera/image",
        "--out",
        tmp_path / "out.mcap",
    ]
    found = CliRunner().invoke(app, [str(a) for a in arguments])
    assert found.exit_code == 3, found.output


def test_rerun_gets_a_file_of_its_own(types: RosTypes, bag: Any, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason='needs: pip install "molmo-point[rerun]"')
    from molmo_robot.bag.rerun import RerunFile

    viewer = RerunFile(tmp_path / "out.rrd")
    answer(types, Task(bag, tmp_path / "out.mcap", "/camera/image", "ball"), watch=viewer.add)
    viewer.close()
    data = (tmp_path / "out.rrd").read_bytes()
    assert data[:4] == b"RRF2"
    assert len(data) > 10_000
