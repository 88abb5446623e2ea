"""The commands, run in this process on real files: answers, JSON, reports, exit codes."""

from __future__ import annotations

import json
import pathlib
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
from molmo_calibration import (
    Camera,
    CameraFileError,
    FrameError,
    Transform,
    load_camera,
    load_transform,
    save_camera,
)
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.find_board import likely_board
from molmo_calibration.cli.app import app, main
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.files.depth_files import load_depth, unit_hint
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector
from typer.testing import CliRunner

DATA = pathlib.Path(__file__).parent / "data"
RUN = CliRunner()
OFF_CENTRE = np.array([[0.0, 0, 319.5], [0, 0, 239.5], [0, 0, 0]])


def call(*arguments: object) -> str:
    """Standard output of a command that must end with 0."""
    result = RUN.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


@pytest.fixture
def files(tmp_path: pathlib.Path) -> pathlib.Path:
    """A camera, a depth image with a box before a wall, and a pointing answer."""
    k = np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
    save_camera(Camera(640, 480, k, frame_id="cam"), tmp_path / "cam.yaml")
    depth = np.full((480, 640), 1500, dtype=np.uint16)
    depth[200:280, 280:360] = 800
    depth[:, :20] = 0
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    points = [
        {"x": 0.5, "y": 0.5, "label": "box", "covariance": [1e-5, 0, 2e-5], "score": 0.9},
        {"x": 0.9, "y": 0.9, "label": "wall", "covariance": None},
        {"x": 280 / 640, "y": 0.5, "label": "edge"},
        {"x": 0.01, "y": 0.5, "label": "hole"},
    ]
    answer = {"points": points, "image_size": [640, 480], "status": "found"}
    (tmp_path / "pointing.json").write_text(json.dumps(answer))
    return tmp_path


class TestProject:
    def arguments(self, files: pathlib.Path) -> list[object]:
        return ["project", "--camera", files / "cam.yaml", "--pointing", files / "pointing.json"]

    def test_depth(self, files: pathlib.Path) -> None:
        out = call(*self.arguments(files), "--depth", files / "depth.png", "--json")
        box, wall, edge, hole = json.loads(out)["points"]
        # norm 0.5 is uv 319.5, the centre: half a pixel off would be 0.7 mm.
        np.testing.assert_allclose(box["point_m"], [0, 0, 0.8], atol=1e-9)
        expected = (0.8 * 640 * np.sqrt(1e-5) / 600) ** 2
        assert box["covariance_m2"][0][0] == pytest.approx(expected)
        assert wall["point_m"][2] == pytest.approx(1.5)
        assert wall["covariance_m2"] is None
        assert (edge["status"], edge["point_m"]) == ("ambiguous", None)
        assert hole["status"] == "none"
        text = call(*self.arguments(files), "--depth", files / "depth.png")
        assert "box: (0.0000, 0.0000, 0.8000) m in cam +- " in text
        assert "wall: " in text
        assert "(error not known)" in text
        assert "edge: ambiguous" in text

    def test_plane_and_floats(self, files: pathlib.Path) -> None:
        out = call(*self.arguments(files), "--plane", "0,0,1,2.0", "--json")
        assert all(p["point_m"][2] == pytest.approx(2.0) for p in json.loads(out)["points"])
        np.save(files / "depth.npy", np.full((480, 640), 1.25, dtype=np.float32))
        out = call(*self.arguments(files), "--depth", files / "depth.npy", "--json")
        assert json.loads(out)["points"][0]["point_m"][2] == pytest.approx(1.25)

    def test_a_plane_or_a_transform_in_millimetres_is_noticed(self, files: pathlib.Path) -> None:
        def said(*extra: object) -> str:
            arguments = [str(a) for a in (*self.arguments(files), *extra)]
            return " ".join(RUN.invoke(app, arguments).stderr.split())

        far = said("--plane", "0,0,1,800")
        assert "m away: are the plane, the transform and the depth in metres?" in far
        matrix = Transform.from_parts(np.eye(3), [400.0, 100.0, 900.0]).matrix.tolist()
        path = files / "mm.json"
        path.write_text(json.dumps({"base_from_camera": {"matrix": matrix}}))
        assert "m away: are the plane" in said("--plane", "0,0,1,0.8", "--transform", path)
        assert "away" not in said("--plane", "0,0,1,0.8")

    def test_into_the_frame_of_the_robot(self, files: pathlib.Path) -> None:
        """The point turns and moves, and the transform's uncertainty is added to its own."""
        turn, shift = matrix_from_rotation_vector([2.2, -0.3, 0.1]), np.array([0.4, 0.1, 0.9])
        entry = {"matrix": Transform.from_parts(turn, shift).matrix.tolist()}
        depth = ["--depth", files / "depth.png", "--depth-sigma", 2, "--json"]
        still = json.loads(call(*self.arguments(files), *depth))["points"][0]
        path = files / "base.json"
        path.write_text(
            json.dumps({"base_from_camera": entry | {"covariance": (np.eye(6) * 1e-6).tolist()}})
        )
        out = json.loads(call(*self.arguments(files), *depth, "--transform", path))["points"]
        np.testing.assert_allclose(out[0]["point_m"], turn @ [0, 0, 0.8] + shift, atol=1e-9)
        assert [p["frame_id"] for p in out] == ["base"] * 4
        assert (out[3]["status"], out[3]["point_m"]) == ("none", None)
        grown = np.trace(out[0]["covariance_m2"]) - np.trace(still["covariance_m2"])
        # Three shifts, and a turn about each of the two axes across 0.8 m.
        assert grown == pytest.approx(1e-6 * (3 + 2 * 0.8**2))
        path.write_text(json.dumps({"camera_from_base": entry}))
        wrong = [*self.arguments(files), *depth, "--transform", path]
        result = RUN.invoke(app, [str(a) for a in wrong])
        assert isinstance(result.exception, FrameError)
        assert "is it inverted" in str(result.exception)

    def test_another_resolution_is_no_matter_but_another_shape_is(
        self, files: pathlib.Path
    ) -> None:
        answer = json.loads((files / "pointing.json").read_text())
        (files / "pointing.json").write_text(json.dumps(answer | {"image_size": [1280, 960]}))
        out = call(*self.arguments(files), "--depth", files / "depth.png", "--json")
        box = json.loads(out)["points"][0]
        np.testing.assert_allclose(box["point_m"], [0, 0, 0.8], atol=1e-9)
        assert box["uv"] == [319.5, 239.5]
        (files / "pointing.json").write_text(json.dumps(answer | {"image_size": [640, 360]}))
        arguments = [*self.arguments(files), "--depth", files / "depth.png"]
        result = RUN.invoke(app, [str(a) for a in arguments])
        assert isinstance(result.exception, CameraFileError)
        assert "640 x 360, but the camera file is for 640 x 480" in str(result.exception)

    def test_nothing_there_is_exit_code_3(self, files: pathlib.Path) -> None:
        cv2.imwrite(str(files / "empty.png"), np.zeros((480, 640), dtype=np.uint16))
        arguments = [*self.arguments(files), "--depth", files / "empty.png"]
        result = RUN.invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 3
        assert "box: none" in result.stdout

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ([], "one of the two"),
            (["--plane", "1,2"], "a plane must be nx,ny,nz,d"),
            (["--plane", "0,0,1,2", "--pointing", "{dir}/cam.yaml"], "must have the key"),
            (["--depth", "{dir}/pointing.json"], "cannot be read as an image"),
            (["--depth", "{dir}/colour.png"], "uint16 millimetres or float metres"),
        ],
    )
    def test_mistakes_are_one_sentence_and_exit_code_2(
        self,
        files: pathlib.Path,
        extra: list[str],
        words: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        cv2.imwrite(str(files / "colour.png"), np.zeros((480, 640, 3), dtype=np.uint8))
        arguments = [*map(str, self.arguments(files)), *(e.format(dir=files) for e in extra)]
        monkeypatch.setattr(sys, "argv", ["molmo-calibrate", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        said = " ".join(capsys.readouterr().err.split())
        assert words in said
        assert "Traceback" not in said


class TestCalibrating:
    def test_intrinsics(self, tmp_path: pathlib.Path) -> None:
        out = call(
            "intrinsics",
            DATA / "left",
            "--output",
            tmp_path / "cam.yaml",
            "--report",
            tmp_path / "report.html",
            "--json",
        )
        numbers = json.loads(out)
        assert numbers["verdict"] == "good"
        assert numbers["rms_px"] < 0.21
        assert len(numbers["views"]) == 13
        camera = load_camera(tmp_path / "cam.yaml")
        assert camera.matrix[0, 0] == pytest.approx(533.4, abs=1)
        assert camera.intrinsics_covariance is not None
        assert "class=residuals" in (tmp_path / "report.html").read_text()
        checked = call("check", tmp_path / "cam.yaml", "--pictures", DATA / "left", "--json")
        assert json.loads(checked)["rms_px"] < 0.25

    def test_check_finds_a_camera_of_another_crop(self, tmp_path: pathlib.Path) -> None:
        k = np.array([[600.0, 0, 20], [0, 400, 239.5], [0, 0, 1]])
        save_camera(Camera(640, 480, k), tmp_path / "cam.yaml")
        result = RUN.invoke(app, ["check", str(tmp_path / "cam.yaml")])
        assert result.exit_code == 1
        assert "another resolution or a crop" in result.stdout

    def test_check_grades_the_error(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Below 0.5 px good, up to 1 px usable, beyond it bad: what the line says."""
        save_camera(Camera(640, 480, np.diag([600.0, 600, 1]) + OFF_CENTRE), tmp_path / "cam.yaml")
        for rms, word in ((0.4, "good"), (0.7, "usable"), (1.3, "bad"), (np.inf, "bad")):
            monkeypatch.setattr(
                "molmo_calibration.calibrate.camera_check.check_images", lambda *_, r=rms: r
            )
            out = RUN.invoke(
                app,
                ["check", str(tmp_path / "cam.yaml"), "--pictures", str(DATA / "left"), "--json"],
            )
            assert json.loads(out.stdout)["verdict"] == word
            assert (out.exit_code == 1) == (word == "bad")

    def test_no_images(self, tmp_path: pathlib.Path) -> None:
        result = RUN.invoke(app, ["intrinsics", str(tmp_path)])
        assert "holds no images" in str(result.exception)

    def test_hand_eye(self, tmp_path: pathlib.Path) -> None:
        rng = np.random.default_rng(0)
        x = Transform.from_parts(matrix_from_rotation_vector([0.1, 0.2, 1.5]), [0.03, -0.05, 0.08])
        z = Transform.from_parts(matrix_from_rotation_vector([3.0, 0.1, 0]), [0.5, 0, 0.1])
        samples = []
        for _ in range(12):
            turn = matrix_from_rotation_vector(rng.normal(size=3) * 0.35)
            seen = Transform.from_parts(turn, [0, 0, 0.6] + rng.normal(size=3) * 0.08)
            arm = z @ seen.inverse() @ x.inverse()
            samples.append(
                {
                    "base_from_gripper": {
                        "translation": arm.translation.tolist(),
                        "quaternion_xyzw": arm.quaternion.tolist(),
                    },
                    "camera_from_board": {"matrix": seen.matrix.tolist()},
                }
            )
        path = tmp_path / "poses.json"
        path.write_text(json.dumps({"setup": "eye_in_hand", "samples": samples}))
        out = json.loads(call("hand-eye", path, "--report", tmp_path / "r.html", "--json"))
        np.testing.assert_allclose(
            out["gripper_from_camera"]["translation"], x.translation, atol=1e-6
        )
        assert "p_gripper = gripper_from_camera @ p_camera" in out["meaning"]
        assert "static_transform_publisher" in (tmp_path / "r.html").read_text()
        text = call("hand-eye", path, "--output", tmp_path / "hand_eye.yaml")
        assert "good: leaving one pose out" in text
        kept = load_transform(tmp_path / "hand_eye.yaml")
        assert (kept.to_frame, kept.from_frame) == ("gripper", "camera")
        np.testing.assert_allclose(kept.matrix, x.matrix, atol=1e-6)
        assert kept.covariance is not None

    def test_hand_eye_from_images(self, tmp_path: pathlib.Path) -> None:
        """The published left images, with an arm whose poses we know from the calibration."""
        call("intrinsics", DATA / "left", "--output", tmp_path / "cam.yaml")
        from molmo_calibration import Board, board_pose, detect_in_file

        camera = load_camera(tmp_path / "cam.yaml")
        x = Transform.from_parts(np.eye(3), [0.02, 0.03, 0.04])
        samples = []
        for path in sorted((DATA / "left").iterdir()):
            seen = board_pose(camera, detect_in_file(path, Board(10, 7, 0.025)))
            arm = Transform(np.linalg.inv(seen.matrix)) @ x.inverse()
            samples.append(
                {"base_from_gripper": {"matrix": arm.matrix.tolist()}, "image": str(path)}
            )
        poses = tmp_path / "poses.json"
        poses.write_text(json.dumps({"setup": "eye_in_hand", "samples": samples}))
        out = json.loads(call("hand-eye", poses, "--camera", tmp_path / "cam.yaml", "--json"))
        np.testing.assert_allclose(
            out["gripper_from_camera"]["translation"], x.translation, atol=1e-5
        )

    def test_board(self, tmp_path: pathlib.Path) -> None:
        out = call("board", tmp_path / "b.pdf", "--charuco", "--square", 22, "--paper", "letter")
        assert out.strip() == str(tmp_path / "b.pdf")
        assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")


def test_python_m_is_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["molmo-calibrate", "check", "nothing.yaml"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("molmo_calibration", run_name="__main__")
    assert stop.value.code == 2
    assert "cannot read nothing.yaml" in " ".join(capsys.readouterr().err.split())


def test_help_does_not_load_opencv() -> None:
    """`--help` is quick: heavy libraries are loaded by the commands that need them."""
    code = (
        "import sys; from molmo_calibration.cli.app import app; "
        "from typer.testing import CliRunner; r = CliRunner().invoke(app, ['--help']); "
        "assert r.exit_code == 0; print('cv2' in sys.modules, 'scipy' in sys.modules)"
    )
    package = pathlib.Path(sys.modules["molmo_calibration"].__file__ or "").parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(package)},
    )
    assert run.stdout.strip() == "False False"


class TestPiping:
    def test_an_answer_on_standard_input_and_lines_of_a_folder(
        self, tmp_path: pathlib.Path
    ) -> None:
        save_camera(
            Camera(640, 480, np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])),
            tmp_path / "cam.yaml",
        )
        answer = {
            "image_size": [640, 480],
            "frame_id": "a.png",
            "points": [{"x": 0.5, "y": 0.5, "label": "mug"}],
        }
        other = answer | {"frame_id": "b.png", "status": "truncated"}
        arguments = [
            "project",
            "--camera",
            str(tmp_path / "cam.yaml"),
            "--plane",
            "0,0,1,0.8",
            "--pointing",
        ]
        result = RUN.invoke(app, [*arguments, "-"], input=json.dumps(answer))
        assert result.exit_code == 0
        assert result.stdout.startswith("mug: (")
        (tmp_path / "many.jsonl").write_text(json.dumps(answer) + "\n" + json.dumps(other) + "\n")
        result = RUN.invoke(app, [*arguments, str(tmp_path / "many.jsonl"), "--json"])
        points = json.loads(result.stdout)["points"]
        assert [point["image"] for point in points] == ["a.png", "b.png"]
        assert "was cut off" in result.stderr
        pending = answer | {"status": "pending", "points": []}
        with pytest.raises(CameraFileError, match="is no answer: its status is 'pending'"):
            RUN.invoke(app, [*arguments, "-"], input=json.dumps(pending), catch_exceptions=False)


class TestDepthScale:
    def test_the_unit_of_depth_can_be_said_and_is_doubted(self, tmp_path: pathlib.Path) -> None:
        cv2.imwrite(str(tmp_path / "tum.png"), np.full((48, 64), 4000, np.uint16))
        assert load_depth(tmp_path / "tum.png", 0.0002).metres[0, 0] == pytest.approx(0.8)
        assert load_depth(tmp_path / "tum.png").metres[0, 0] == pytest.approx(4.0)
        np.save(tmp_path / "mm.npy", np.full((48, 64), 800.0, np.float32))
        assert "0.001 for millimetres" in unit_hint(load_depth(tmp_path / "mm.npy"))
        assert unit_hint(load_depth(tmp_path / "mm.npy", 0.001)) == ""


class TestBoardFile:
    def test_only_a_pdf_and_never_over_a_file(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(InvalidArgumentError, match=r"name it .*b\.pdf"):
            RUN.invoke(app, ["board", str(tmp_path / "b.png")], catch_exceptions=False)
        assert not (tmp_path / "b.png").exists()
        (tmp_path / "b.pdf").write_text("mine")
        with pytest.raises(InvalidArgumentError, match="--overwrite"):
            RUN.invoke(app, ["board", str(tmp_path / "b.pdf")], catch_exceptions=False)
        assert (tmp_path / "b.pdf").read_text() == "mine"
        assert RUN.invoke(app, ["board", str(tmp_path / "b.pdf"), "--overwrite"]).exit_code == 0

    def test_help_version_and_a_negative_square(self, tmp_path: pathlib.Path) -> None:
        assert RUN.invoke(app, ["-h"]).exit_code == 0
        assert "molmo-calibrate" in RUN.invoke(app, ["--version"]).stdout
        with pytest.raises(
            InvalidArgumentError, match=r"--square must be above 0 \(millimetres\), got -1"
        ):
            RUN.invoke(
                app, ["board", str(tmp_path / "x.pdf"), "--square", "-1"], catch_exceptions=False
            )

    def test_another_board_is_named(self) -> None:
        other = likely_board([DATA / "left" / "left01.jpg"], Board(8, 6, 0.025))
        assert "--columns 10 --rows 7" in other
