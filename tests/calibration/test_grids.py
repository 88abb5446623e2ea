"""Circle grids and AprilTag grids: printed, rendered through a lens, found again, and read from Kalibr's files."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from molmo_calibration import (
    Board,
    BoardNotFoundError,
    Camera,
    CameraFileError,
    InvalidArgumentError,
    board_pose,
    calibrate_intrinsics,
    detect_board,
    save_board_pdf,
)
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.calibrate.patterns import pattern_of
from molmo_calibration.files.target_files import load_target
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

CIRCLES = Board(9, 6, 0.025, "circles")
ASYMMETRIC = Board(4, 11, 0.02, "asymmetric_circles")
TAGS = Board(6, 5, 0.039, "aprilgrid", 0.03)
GRIDS = {
    "circles": CIRCLES,
    "asymmetric": ASYMMETRIC,
    "tags": TAGS,
    "narrow tags": Board(6, 5, 0.039, "aprilgrid", 0.03, border_bits=1),
}
LENS = Camera(
    960,
    720,
    np.array([[930.0, 0, 481], [0, 927, 363], [0, 0, 1]]),
    np.array([-0.1, 0.02, 1e-3, -5e-4, 0.0]),
    "plumb_bob",
)


def texture_of(board: Board, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The drawing at `scale` pixels per millimetre in a white border, and where its origin lies."""
    drawn, border = pattern_of(board), 15.0
    width, height = (round((s + 2 * border) * scale) for s in drawn.size)
    image = np.full((height, width), 255, np.uint8)
    for grey, rectangles in ((0, drawn.black), (255, drawn.white)):
        for x, y, w, h in rectangles:
            left, top, right, bottom = (round((v + border) * scale) for v in (x, y, x + w, y + h))
            image[top:bottom, left:right] = grey
    for x, y, radius in drawn.circles:
        centre = [round(((v + border) * scale - 0.5) * 16) for v in (x, y)]
        cv2.circle(image, centre, round(radius * scale * 16), 0, -1, cv2.LINE_AA, 4)
    return image, (np.array(drawn.first) + border) * scale - 0.5


def render(board: Board, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """An image of a board by casting a ray per half pixel, lens and all."""
    scale = 6.0
    texture, first = texture_of(board, scale)
    width, height = LENS.image_size
    fine = (np.arange(width * 2) + 0.5) / 2 - 0.5, (np.arange(height * 2) + 0.5) / 2 - 0.5
    rays = LENS.ray(np.stack(np.meshgrid(*fine), -1)) @ turn
    origin = -shift @ turn
    hit = origin[:2] - rays[..., :2] * (origin[2] / rays[..., 2:])
    where = (hit * 1000 * scale + first).astype(np.float32)
    image = cv2.remap(texture, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderValue=160)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def page(board: Board, tmp_path: pathlib.Path) -> np.ndarray:
    """The PDF at 300 dots per inch as a printer would see it, through poppler."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    save_board_pdf(board, tmp_path / "board.pdf", "a3")
    subprocess.run(
        ["pdftoppm", "-gray", "-r", "300", "-singlefile", "board.pdf", "board"],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    image = cv2.imread(str(tmp_path / "board.pgm"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


def placed(board: Board, turn: np.ndarray, distance: float) -> np.ndarray:
    """Where the board's origin must be for its middle to be in front of the camera."""
    return np.array([0, 0, distance]) - turn @ board.points.mean(axis=0)


@pytest.mark.parametrize("name", sorted(GRIDS))
class TestRendered:
    def test_points_and_pose(self, name: str) -> None:
        board = GRIDS[name]
        turn = matrix_from_rotation_vector([0.3, -0.25, 0.15])
        shift = placed(board, turn, 0.42)
        found = detect_board(render(board, turn, shift), board)
        assert len(found.pixels) == len(board.points)
        errors = found.pixels - LENS.project(found.board_points @ turn.T + shift)
        if board.kind == "circles":
            # It looks the same upside down, so its points may be found in the other order.
            other = found.pixels[::-1] - LENS.project(found.board_points @ turn.T + shift)
            errors = min(errors, other, key=lambda e: float(np.abs(e).max()))
        # The centre of an ellipse is not the image of the circle's centre: a tenth of a pixel.
        assert np.sqrt((errors**2).sum(axis=1).mean()) < 0.2
        if not board.looks_the_same_upside_down:
            pose = board_pose(LENS, found)
            np.testing.assert_allclose(pose.translation, shift, atol=1.5e-3)

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    def test_a_turned_camera_sees_the_same_points(self, name: str, degrees: int) -> None:
        board = GRIDS[name]
        turn = matrix_from_rotation_vector([0, 0, np.deg2rad(degrees)])
        turn = turn @ matrix_from_rotation_vector([0.2, 0.1, 0])
        shift = placed(board, turn, 0.5)
        found = detect_board(render(board, turn, shift), board)
        assert len(found.pixels) == len(board.points)
        if not board.looks_the_same_upside_down:
            errors = found.pixels - LENS.project(found.board_points @ turn.T + shift)
            assert np.sqrt((errors**2).sum(axis=1).mean()) < 0.25

    def test_the_print_measures_what_it_says(self, name: str, tmp_path: pathlib.Path) -> None:
        board = GRIDS[name]
        found = detect_board(page(board, tmp_path), board)
        assert len(found.pixels) == len(board.points)
        pixels = found.pixels[::-1] if _backwards(found) else found.pixels
        offset = pixels - found.board_points[:, :2] * 300 / 0.0254
        # The rasterizer moves edges onto whole dots: a dot is 0.08 mm.
        np.testing.assert_allclose(offset - offset.mean(axis=0), 0, atol=1.0)


def _backwards(found: Detection) -> bool:
    """Whether a grid that looks the same upside down was found in the other order."""
    return bool(found.pixels[0].sum() > found.pixels[-1].sum()) and len(found.pixels) == 54


class TestTags:
    TURN = matrix_from_rotation_vector([0.2, -0.1, 0.05])

    def image(self) -> np.ndarray:
        return render(TAGS, self.TURN, placed(TAGS, self.TURN, 0.4))

    def test_a_part_of_the_grid_is_enough(self) -> None:
        image = self.image()
        image[:, 520:] = 128
        found = detect_board(image, TAGS)
        assert 8 <= len(found.pixels) < len(TAGS.points)
        shift = placed(TAGS, self.TURN, 0.4)
        errors = found.pixels - LENS.project(found.board_points @ self.TURN.T + shift)
        assert np.abs(errors).max() < 0.6

    def test_the_tags_are_kalibrs(self) -> None:
        """Tag 0 as Kalibr draws it: its code, first bit at the top left, then half a turn."""
        code, side = 0xD5D628584, 6
        white = np.array(
            [[bool(code >> (side * i + j) & 1) for j in range(side)] for i in range(side)]
        )
        kalibr = np.rot90(white, 2)
        image, first = texture_of(Board(2, 2, 0.013, "aprilgrid", 0.010), 10.0)
        # Tag 0 is at the bottom left; 10 bits of 1 mm, two of them border.
        left, top = round(first[0] + 0.5), round(first[1] + 0.5) + 130
        bits = image[top + 5 : top + 100 : 10, left + 5 : left + 100 : 10] > 127
        np.testing.assert_array_equal(bits[2:-2, 2:-2], kalibr)
        assert not bits[:2].any()
        assert not bits[:, :2].any()

    def test_why_they_are_not_found(self) -> None:
        image = self.image()
        with pytest.raises(BoardNotFoundError, match="mirrored"):
            detect_board(np.ascontiguousarray(image[:, ::-1]), TAGS)
        with pytest.raises(BoardNotFoundError, match="try --border 2"):
            detect_board(image, GRIDS["narrow tags"])
        with pytest.raises(BoardNotFoundError, match="0 of its tags"):
            detect_board(np.full((480, 640), 255, np.uint8), TAGS)

    def test_circles_that_are_not_there(self) -> None:
        with pytest.raises(BoardNotFoundError, match="asymmetric circle grid, 4 x 11 circles"):
            detect_board(self.image(), ASYMMETRIC)


def test_light_circles_on_dark_are_found() -> None:
    turn = matrix_from_rotation_vector([0.2, -0.1, 0.05])
    image = 255 - render(ASYMMETRIC, turn, placed(ASYMMETRIC, turn, 0.4))
    assert len(detect_board(image, ASYMMETRIC).pixels) == 44


@pytest.mark.parametrize("name", ["asymmetric", "circles", "tags"])
def test_a_camera_is_calibrated_with_them(name: str) -> None:
    board, rng, seen = GRIDS[name], np.random.default_rng(4), []
    for index in range(6):
        turn = matrix_from_rotation_vector(rng.uniform(-0.4, 0.4, 3))
        shift = placed(board, turn, 0.42) + np.array(
            [0.04 * (index % 3 - 1), 0.02 * (index % 2), 0]
        )
        seen.append(detect_board(render(board, turn, shift), board, f"view {index}"))
    result = calibrate_intrinsics(seen, "plumb_bob", folds=0)
    assert result.rms_px < 0.25
    np.testing.assert_allclose(np.diag(result.camera.matrix)[:2], [930, 927], rtol=0.02)


class TestBoard:
    def test_which_look_the_same_upside_down(self) -> None:
        same = {name: board.looks_the_same_upside_down for name, board in GRIDS.items()}
        assert same == {"circles": True, "asymmetric": False, "tags": False, "narrow tags": False}
        assert Board(4, 10, 0.02, "asymmetric_circles").looks_the_same_upside_down

    def test_points(self) -> None:
        np.testing.assert_allclose(
            ASYMMETRIC.points[[0, 1, 4, 8]] * 1000,
            [[0, 0, 0], [40, 0, 0], [20, 20, 0], [0, 40, 0]],
        )
        corners = TAGS.points.reshape(5, 6, 4, 3) * 1000
        np.testing.assert_allclose(corners[0, 0, 0], [0, 4 * 39, 0])
        np.testing.assert_allclose(
            corners[4, 1], [[39, 0, 0], [69, 0, 0], [69, 30, 0], [39, 30, 0]]
        )

    def test_bad_ones(self) -> None:
        with pytest.raises(InvalidArgumentError, match="kind must be one of"):
            Board(9, 6, 0.02, "dots")
        with pytest.raises(InvalidArgumentError, match="at least 2 x 2 tags"):
            Board(1, 6, 0.02, "aprilgrid")
        with pytest.raises(InvalidArgumentError, match="border_bits must be 1 or 2"):
            Board(6, 6, 0.02, "aprilgrid", border_bits=3)


class TestTargetFiles:
    def load(self, tmp_path: pathlib.Path, text: str) -> Board:
        path = tmp_path / "target.yaml"
        path.write_text(text)
        return load_target(path)

    def test_every_type(self, tmp_path: pathlib.Path) -> None:
        tags = self.load(
            tmp_path,
            "target_type: 'aprilgrid'\ntagCols: 6\ntagRows: 5\ntagSize: 0.088\ntagSpacing: 0.3\n",
        )
        assert (tags.kind, tags.columns, tags.rows, tags.marker_m) == ("aprilgrid", 6, 5, 0.088)
        assert tags.square_m == pytest.approx(0.1144)
        chess = self.load(
            tmp_path,
            "target_type: checkerboard\ntargetCols: 6\ntargetRows: 7\nrowSpacingMeters: 0.06\n"
            "colSpacingMeters: 0.06\n",
        )
        assert chess == Board(7, 8, 0.06)
        text = "target_type: circlegrid\ntargetCols: 4\ntargetRows: 11\nspacingMeters: 0.02\n"
        assert self.load(tmp_path, text) == Board(4, 11, 0.02, "circles")
        assert self.load(tmp_path, text + "asymmetricGrid: True\n") == ASYMMETRIC

    def test_bad_ones(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(CameraFileError, match="target_type must be aprilgrid"):
            self.load(tmp_path, "target_type: assisi\n")
        with pytest.raises(CameraFileError, match="tagSpacing is the space"):
            self.load(
                tmp_path,
                "target_type: aprilgrid\ntagCols: 6\ntagRows: 5\ntagSize: 0.088\ntagSpacing: 26\n",
            )
        with pytest.raises(CameraFileError, match="squares must be square"):
            self.load(
                tmp_path,
                "target_type: checkerboard\ntargetCols: 6\ntargetRows: 7\nrowSpacingMeters: 0.06\n"
                "colSpacingMeters: 0.05\n",
            )
