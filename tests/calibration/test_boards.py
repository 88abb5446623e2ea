"""Boards: printed, measured, rendered in perspective, found again."""

from __future__ import annotations

import json
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
    InvalidArgumentError,
    Transform,
    board_pdf,
    board_pose,
    calibrate_intrinsics,
    detect_board,
    load_hand_eye,
    save_board_pdf,
)
from molmo_calibration.calibrate.chessboards import unmirrored
from molmo_calibration.calibrate.find_board import likely_board
from molmo_calibration.calibrate.marker_layout import Layout, charuco_layout, markers_in
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

CHESS = Board(10, 7, 0.025)
CHARUCO = Board(10, 7, 0.025, "charuco")
BOARDS = {
    "chessboard": CHESS,
    "charuco": CHARUCO,
    "legacy": Board(9, 8, 0.025, "charuco", legacy=True),
}


def page(board: Board, tmp_path: pathlib.Path, dots_per_inch: int = 300) -> np.ndarray:
    """The PDF as a printer would see it, through poppler."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    save_board_pdf(board, tmp_path / "board.pdf", "a3" if board.legacy else "a4")
    subprocess.run(
        ["pdftoppm", "-gray", "-r", str(dots_per_inch), "-singlefile", "board.pdf", "board"],
        cwd=tmp_path,
        check=True,
    )
    image = cv2.imread(str(tmp_path / "board.pgm"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


class TestPrint:
    @pytest.mark.parametrize("name", sorted(BOARDS))
    def test_the_print_is_found_and_measures_what_it_says(
        self, name: str, tmp_path: pathlib.Path
    ) -> None:
        board = BOARDS[name]
        found = detect_board(page(board, tmp_path), board)
        assert len(found.pixels) == board.inner[0] * board.inner[1]
        per_metre = 300 / 0.0254
        expected = found.board_points[:, :2] * per_metre
        offset = found.pixels - expected
        # The rasterizer moves edges onto whole dots: half a dot is 0.04 mm.
        np.testing.assert_allclose(offset - offset.mean(axis=0), 0, atol=0.8)

    def test_the_ruler_measures_100_mm(self, tmp_path: pathlib.Path) -> None:
        image = page(CHESS, tmp_path, 300)
        millimetre = 300 / 25.4
        row = image[round((210 - 8 - 6 + 3.5) * millimetre)] < 128
        marks = np.flatnonzero(row[: round(108.5 * millimetre)])
        assert (marks.max() - marks.min()) / millimetre == pytest.approx(100, abs=0.2)

    def test_it_says_how_to_print(self) -> None:
        document = board_pdf(CHESS)
        assert document.startswith(b"%PDF-1.4")
        assert b"/PrintScaling /None" in document
        assert b"10 x 7 squares of 25 mm" in document
        start = int(document.rsplit(b"startxref\n", 1)[1].split()[0])
        assert document[start:].startswith(b"xref")

    def test_too_large_or_unknown(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"does not fit on a4.*at most 25\.\d mm"):
            board_pdf(Board(11, 7, 0.03))
        with pytest.raises(InvalidArgumentError, match="paper must be one of a4"):
            board_pdf(CHESS, "a9")
        with pytest.raises(InvalidArgumentError, match="dictionary must be one of"):
            board_pdf(Board(5, 5, 0.02, "charuco", dictionary="DICT_X"))


def render(board: Board, camera: Camera, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """An image of a board by casting a ray per pixel, twice oversampled, lens and all."""
    scale = 4000.0
    if board.kind == "charuco":
        size = (
            round(board.columns * board.square_m * scale),
            round(board.rows * board.square_m * scale),
        )
        texture = board.charuco().generateImage(size)
    else:
        side = round(board.square_m * scale)
        cells = np.indices((board.rows, board.columns)).sum(axis=0) % 2
        texture = np.kron(cells, np.ones((side, side))).astype(np.uint8) * 255
    texture = cv2.copyMakeBorder(texture, 300, 300, 300, 300, cv2.BORDER_CONSTANT, value=255)
    width, height = camera.image_size
    fine = (np.arange(width * 2) + 0.5) / 2 - 0.5, (np.arange(height * 2) + 0.5) / 2 - 0.5
    rays = camera.ray(np.stack(np.meshgrid(*fine), -1)) @ turn
    origin = -shift @ turn
    hit = origin[:2] - rays[..., :2] * (origin[2] / rays[..., 2:])
    where = ((hit + board.square_m) * scale + 299.5).astype(np.float32)
    image = cv2.remap(texture, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderValue=128)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


class TestRendered:
    @pytest.mark.parametrize("name", sorted(BOARDS))
    def test_corners_and_pose(self, name: str) -> None:
        """The half pixel would show here: corners are right to 0.1 px, the pose to 1 mm."""
        board = BOARDS[name]
        k = np.array([[620.0, 0, 321.0], [0, 618.0, 242.0], [0, 0, 1]])
        camera = Camera(640, 480, k, np.array([-0.1, 0.02, 1e-3, -5e-4, 0.0]), "plumb_bob")
        turn = matrix_from_rotation_vector([0.35, -0.25, 0.1])
        shift = np.array([-0.1, -0.07, 0.42])
        found = detect_board(render(board, camera, turn, shift), board)
        truth = camera.project(found.board_points @ turn.T + shift)
        errors = found.pixels - truth
        assert np.abs(errors.mean(axis=0)).max() < 0.06
        assert np.sqrt((errors**2).sum(axis=1).mean()) < 0.15
        pose = board_pose(camera, found)
        np.testing.assert_allclose(pose.translation, shift, atol=1e-3)

    @pytest.mark.parametrize("upside_down", [90.0, 180.0])
    def test_the_pose_knows_which_way_is_up(self, upside_down: float) -> None:
        """A gripper turns; a board of 10 x 7 squares has one pose all the same."""
        assert not CHESS.looks_the_same_upside_down
        camera = Camera(640, 480, np.array([[620.0, 0, 321.0], [0, 618.0, 242.0], [0, 0, 1]]))
        turn = matrix_from_rotation_vector([0.25, -0.2, 0.0]) @ matrix_from_rotation_vector(
            [0.0, 0.0, np.deg2rad(upside_down)]
        )
        middle = np.array([0.1, 0.0625, 0.0])
        shift = np.array([0.0, 0.0, 0.55]) - turn @ middle
        pose = board_pose(camera, detect_board(render(CHESS, camera, turn, shift), CHESS))
        metres, radians = pose.difference(Transform.from_parts(turn, shift))
        assert metres < 2e-3
        assert radians < 0.02

    def test_rows_that_start_at_the_wrong_end_are_turned(self) -> None:
        """Some versions of OpenCV do that; a mirrored board would have a pose behind the camera."""
        pixels = CHESS.points[:, :2] * 2000 + [50, 60]
        columns, rows = CHESS.inner
        mirrored = pixels.reshape(rows, columns, 2)[:, ::-1].reshape(-1, 2)
        np.testing.assert_array_equal(unmirrored(CHESS, mirrored), pixels)
        np.testing.assert_array_equal(unmirrored(CHESS, pixels), pixels)

    def test_a_board_with_two_poses_is_refused_for_hand_eye(self, tmp_path: pathlib.Path) -> None:
        even = Board(10, 8, 0.025)
        assert even.looks_the_same_upside_down
        assert not Board(10, 8, 0.025, "charuco").looks_the_same_upside_down
        sample = {"base_from_gripper": {"matrix": np.eye(4).tolist()}, "image": "a.png"}
        path = tmp_path / "poses.json"
        path.write_text(json.dumps({"setup": "eye_in_hand", "samples": [sample]}))
        camera = Camera(640, 480, np.array([[620.0, 0, 321.0], [0, 618.0, 242.0], [0, 0, 1]]))
        with pytest.raises(InvalidArgumentError, match="looks the same upside down"):
            load_hand_eye(path, camera, even)

    def test_a_camera_from_rendered_charuco_images(self) -> None:
        k = np.array([[310.0, 0, 160.5], [0, 310.0, 121.0], [0, 0, 1]])
        camera = Camera(320, 240, k, np.array([-0.1, 0.02, 0, 0, 0.0]), "plumb_bob")
        rng, found = np.random.default_rng(0), []
        for _ in range(14):
            turn = matrix_from_rotation_vector(rng.uniform(-0.45, 0.45, 3))
            shift = rng.uniform([-0.16, -0.12, 0.28], [-0.06, -0.04, 0.38])
            try:
                found.append(detect_board(render(CHARUCO, camera, turn, shift), CHARUCO))
            except BoardNotFoundError:
                continue
        result = calibrate_intrinsics(found, folds=0)
        assert len(found) >= 10
        assert result.rms_px < 0.25
        assert result.camera.matrix[0, 0] == pytest.approx(
            310.0, abs=max(1.0, 4 * result.sigmas[0])
        )

    def test_a_mirrored_charuco_board_says_so(self) -> None:
        camera = Camera(640, 480, np.array([[620.0, 0, 321.0], [0, 618.0, 242.0], [0, 0, 1]]))
        image = render(CHARUCO, camera, np.eye(3), np.array([-0.1, -0.07, 0.42]))
        with pytest.raises(BoardNotFoundError, match="is mirrored"):
            detect_board(np.ascontiguousarray(image[:, ::-1]), CHARUCO, "selfie.png")

    def test_the_other_charuco_pattern_is_named(self) -> None:
        legacy = BOARDS["legacy"]
        camera = Camera(640, 480, np.array([[620.0, 0, 321.0], [0, 618.0, 242.0], [0, 0, 1]]))
        image = render(legacy, camera, np.eye(3), np.array([-0.1, -0.09, 0.42]))
        modern = Board(9, 8, 0.025, "charuco")
        with pytest.raises(BoardNotFoundError, match="try --legacy"):
            detect_board(image, modern)


class TestBadBoards:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((2, 7, 0.025), "at least 3 x 3 squares"),
            ((10, 7, 0.0), "square_m must be"),
            ((10, 7, 0.025, "dots"), "kind must be one of chessboard, charuco"),
            ((10, 7, 0.025, "charuco", 0.03), "marker_m must be smaller"),
        ],
    )
    def test_messages(self, arguments: tuple, words: str) -> None:
        with pytest.raises(InvalidArgumentError, match=words):
            Board(*arguments)


class TestWhyNoCharuco:
    """The sentence says what was looked for, and what was found instead."""

    BOARD = Board(7, 5, 0.03, "charuco", 0.022, "DICT_5X5_100")

    def image(self, board: Board) -> np.ndarray:
        drawn = board.charuco().generateImage((board.columns * 60, board.rows * 60), marginSize=0)
        return np.pad(np.asarray(drawn), 60, constant_values=255)

    def test_dictionary_and_size_are_named(self) -> None:
        image = self.image(self.BOARD)
        assert len(detect_board(image, self.BOARD).pixels) == 24
        with pytest.raises(BoardNotFoundError, match="try --dictionary DICT_5X5_1000"):
            detect_board(image, Board(7, 5, 0.03, "charuco", 0.022, "DICT_4X4_250"))
        for columns, rows in ((5, 3), (5, 7), (9, 5)):
            with pytest.raises(BoardNotFoundError, match=r"try --columns 7 --rows 5$"):
                detect_board(image, Board(columns, rows, 0.03, "charuco", 0.022, "DICT_5X5_100"))
        with pytest.raises(BoardNotFoundError, match="no marker of DICT_5X5_100 was found; is it"):
            detect_board(np.full((300, 400), 255, np.uint8), self.BOARD)

    @pytest.mark.parametrize("columns", [3, 6, 7, 12])
    @pytest.mark.parametrize("rows", [4, 5])
    @pytest.mark.parametrize("legacy", [False, True])
    def test_the_layout_of_every_board_is_told(
        self, columns: int, rows: int, legacy: bool
    ) -> None:
        board = Board(columns, rows, 0.03, "charuco", 0.022, "DICT_4X4_250", legacy)
        layout = charuco_layout(markers_in(self.image(board), board.dictionary))
        # With an odd number of rows the old pattern is the new one.
        assert layout == Layout(columns, rows, legacy and rows % 2 == 0)

    def test_what_lies_in_images_without_the_chessboard(self, tmp_path: pathlib.Path) -> None:
        def likely(image: np.ndarray) -> str:
            cv2.imwrite(str(tmp_path / "a.png"), image)
            return likely_board([tmp_path / "a.png"], Board(9, 6, 0.025))

        words = "--pattern charuco --dictionary DICT_5X5_1000 --columns 7 --rows 5"
        assert words in likely(self.image(self.BOARD))
        squares = np.kron(np.indices((4, 6)).sum(axis=0) % 2, np.ones((50, 50))) * 255
        white = np.pad(squares.astype(np.uint8), 50, constant_values=255)
        assert "--columns 6 --rows 4" in likely(white)
        assert likely(np.full((300, 400), 255, np.uint8)) == ""
