"""`molmo-point bridge dds`: its options become the robot's parameters; the wire itself is test_dds.py's."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from molmo_robot.cli import bridge
from molmo_robot.settings import Settings
from typer.testing import CliRunner

from molmo_point import api
from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command with a fake model and without a wire; returns (result, what `serve` was called with)."""
    called = []
    monkeypatch.setattr(api, "load", lambda *a, **k: FakePointer())
    monkeypatch.setattr(bridge, "serve", lambda *a, **k: called.append((a, k)))
    app = typer.Typer()
    bridge.register(app)

    def run(*arguments: Any) -> Any:
        result = CliRunner().invoke(app, ["bridge", "dds", *arguments])
        return result, called

    return run


def test_options_become_parameters_that_the_robot_takes(invoke: Any) -> None:
    result, called = invoke(
        *(
            "--image",
            "/i",
            "--info",
            "/c",
            "--depth",
            "/d",
            "--query",
            "mug",
            "--target-frame",
            "odom",
        ),
        *(
            "--compressed",
            "--domain",
            "7",
            "--network",
            "network",
            "--set",
            "depth_strategy=median",
        ),
        *("--set", "depth_max_m=3.5", "--set", "plane_normal=[0, 1, 0]"),
    )
    assert result.exit_code == 0, result.output
    (_, parameters, _), options = called[0]
    settings = Settings.of(parameters)
    camera = settings.cameras["camera"]
    assert (camera.image_topic, camera.info_topic, camera.depth_topic) == ("/i", "/c", "/d")
    assert (camera.image_transport, settings.query, settings.target_frame) == (
        "compressed",
        "mug",
        "odom",
    )
    assert (settings.depth_strategy, settings.depth_max_m) == ("median", 3.5)
    assert settings.plane_normal == (0.0, 1.0, 0.0)
    assert (options["domain"], options["network"], options["node"]) == (
        7,
        "network",
        "molmo_point",
    )


def test_it_stays_on_this_machine_unless_told_otherwise(invoke: Any) -> None:
    _, called = invoke("--image", "/i")
    assert called[0][1]["network"] == "loopback"


def test_a_setting_without_a_value_is_refused(invoke: Any) -> None:
    result, called = invoke("--image", "/i", "--set", "depth_strategy")
    assert isinstance(result.exception, UsageError)
    assert "expected NAME=VALUE" in str(result.exception)
    assert not called
