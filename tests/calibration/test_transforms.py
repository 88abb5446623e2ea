"""Transforms: the laws of a group, SciPy's rotations, uncertainty, time and graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from molmo_calibration import (
    ExtrapolationError,
    FrameError,
    FrameGraph,
    InvalidArgumentError,
    PoseTrack,
    Transform,
    interpolate,
    link_from_optical,
)
from molmo_calibration.geometry.rotations import (
    matrix_from_rotation_vector,
    quaternion_from_matrix,
    rotation_vector_from_matrix,
)
from scipy.spatial.transform import Rotation, Slerp

vectors = hnp.arrays(np.float64, 3, elements=st.floats(-3.0, 3.0))


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    return Transform.from_parts(matrix_from_rotation_vector(draw(vectors)), draw(vectors))


def same(a: Transform, b: Transform) -> None:
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-9)


class TestGroup:
    @settings(max_examples=100, deadline=None)
    @given(a=transforms(), b=transforms(), c=transforms(), point=vectors)
    def test_laws(self, a: Transform, b: Transform, c: Transform, point: np.ndarray) -> None:
        same((a @ b) @ c, a @ (b @ c))
        same(a @ a.inverse(), Transform.identity())
        same(a.inverse() @ a, Transform.identity())
        same(a @ Transform.identity(), a)
        same((a @ b).inverse(), b.inverse() @ a.inverse())
        np.testing.assert_allclose((a @ b).apply(point), a.apply(b.apply(point)), atol=1e-9)
        np.testing.assert_allclose(a.inverse().apply(a.apply(point)), point, atol=1e-9)

    @settings(max_examples=100, deadline=None)
    @given(vector=vectors)
    def test_rotations_are_those_of_scipy(self, vector: np.ndarray) -> None:
        matrix = matrix_from_rotation_vector(vector)
        reference = Rotation.from_rotvec(vector)
        np.testing.assert_allclose(matrix, reference.as_matrix(), atol=1e-12)
        quaternion = reference.as_quat()
        sign = 1.0 if quaternion_from_matrix(matrix) @ quaternion > 0 else -1.0
        np.testing.assert_allclose(quaternion_from_matrix(matrix), sign * quaternion, atol=1e-9)
        back = matrix_from_rotation_vector(rotation_vector_from_matrix(matrix))
        np.testing.assert_allclose(back, matrix, atol=1e-9)
        same(
            Transform.from_quaternion(quaternion, [0, 0, 0]),
            Transform.from_parts(matrix, [0, 0, 0]),
        )

    @pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]])
    @pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, np.pi - 1e-6, np.pi])
    def test_awkward_angles(self, axis: list[float], angle: float) -> None:
        vector = np.array(axis) * angle
        back = rotation_vector_from_matrix(matrix_from_rotation_vector(vector))
        assert np.linalg.norm(back) == pytest.approx(angle, abs=1e-9)
        np.testing.assert_allclose(
            matrix_from_rotation_vector(back), matrix_from_rotation_vector(vector), atol=1e-9
        )

    def test_optical_to_link(self) -> None:
        """REP 103: forward is z in an optical frame and x in a link frame; left is y."""
        link = link_from_optical("camera_link", "camera_optical")
        np.testing.assert_allclose(
            link.apply([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]]),
            [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
            atol=1e-12,
        )
        np.testing.assert_allclose(link.quaternion, [-0.5, 0.5, -0.5, 0.5])

    def test_frames_cancel_or_complain(self) -> None:
        base = Transform.identity("base", "gripper")
        camera = Transform.identity("gripper", "camera")
        assert (base @ camera).to_frame == "base"
        assert (base @ camera).from_frame == "camera"
        assert (base @ camera).inverse().to_frame == "camera"
        with pytest.raises(FrameError, match=r"inner frames must be the same.*inverted"):
            camera @ base

    def test_difference_and_repr(self) -> None:
        turned = Transform.from_parts(matrix_from_rotation_vector([0, 0, 0.1]), [0, 0.3, 0.4])
        metres, radians = turned.difference(Transform.identity())
        assert (metres, radians) == (pytest.approx(0.5), pytest.approx(0.1))
        assert "?_from_?" in repr(turned)


class TestUncertainty:
    def sample(self, transform: Transform, rng: np.random.Generator) -> list[Transform]:
        errors = rng.multivariate_normal(np.zeros(6), transform.covariance, 20000)
        return [
            Transform.from_parts(
                matrix_from_rotation_vector(e[3:]) @ transform.rotation,
                transform.translation + e[:3],
            )
            for e in errors
        ]

    def covariance(self) -> np.ndarray:
        rng = np.random.default_rng(5)
        root = rng.normal(size=(6, 6)) * 0.004
        return root @ root.T

    def pose(self, seed: int, known: bool = True) -> Transform:
        rng = np.random.default_rng(seed)
        rotation = matrix_from_rotation_vector(rng.normal(size=3))
        return Transform.from_parts(
            rotation, rng.normal(size=3), covariance=self.covariance() if known else None
        )

    def test_points(self) -> None:
        transform, point = self.pose(1), np.array([0.4, -0.2, 0.9])
        inner = np.diag([1e-5, 4e-5, 9e-5])
        rng = np.random.default_rng(0)
        moved = np.array([t.apply(point) for t in self.sample(transform, rng)])
        moved += rng.multivariate_normal(np.zeros(3), inner, len(moved)) @ transform.rotation.T
        expected = np.cov(moved.T)
        np.testing.assert_allclose(
            transform.apply_covariance(point, inner), expected, atol=0.05 * np.abs(expected).max()
        )

    @pytest.mark.parametrize("what", ["inverse", "chain"])
    def test_inverse_and_chain(self, what: str) -> None:
        first, second = self.pose(1), self.pose(2)
        rng = np.random.default_rng(1)
        if what == "inverse":
            result = first.inverse()
            drawn = [t.inverse() for t in self.sample(first, rng)[:6000]]
        else:
            result = first @ second
            pairs = zip(
                self.sample(first, rng)[:6000], self.sample(second, rng)[:6000], strict=True
            )
            drawn = [a @ b for a, b in pairs]
        errors = [
            np.concatenate(
                [
                    t.translation - result.translation,
                    rotation_vector_from_matrix(t.rotation @ result.rotation.T),
                ]
            )
            for t in drawn
        ]
        expected = np.cov(np.array(errors).T)
        np.testing.assert_allclose(result.covariance, expected, atol=0.07 * np.abs(expected).max())

    def test_exact_transforms_only_turn(self) -> None:
        transform = self.pose(3, known=False)
        inner = np.diag([1.0, 2.0, 3.0])
        expected = transform.rotation @ inner @ transform.rotation.T
        np.testing.assert_allclose(transform.apply_covariance(np.zeros(3), inner), expected)
        assert (transform @ transform).covariance is None


class TestTime:
    def track(self) -> PoseTrack:
        start = Transform.identity("map", "camera")
        end = Transform.from_parts(
            matrix_from_rotation_vector([0, 0, np.pi / 2]), [1.0, 0, 0], "map", "camera"
        )
        return PoseTrack([(2_000_000_000, end), (1_000_000_000, start)])

    def test_tf2_numbers(self) -> None:
        """A quarter of the way: 0.25 m and 22.5 degrees, as tf2's BufferCore answers."""
        pose = self.track().at(1_250_000_000)
        np.testing.assert_allclose(pose.translation, [0.25, 0, 0])
        angle = np.linalg.norm(rotation_vector_from_matrix(pose.rotation))
        assert np.rad2deg(angle) == pytest.approx(22.5)

    @settings(max_examples=50, deadline=None)
    @given(a=vectors, b=vectors, fraction=st.floats(0, 1))
    def test_slerp_is_that_of_scipy(self, a: np.ndarray, b: np.ndarray, fraction: float) -> None:
        rotations = Rotation.from_rotvec([a, b])
        if (rotations[0].inv() * rotations[1]).magnitude() > np.pi - 1e-3:
            return
        expected = Slerp([0, 1], rotations)(fraction).as_matrix()
        ends = [Transform.from_parts(m, [0, 0, 0]) for m in rotations.as_matrix()]
        np.testing.assert_allclose(interpolate(*ends, fraction).rotation, expected, atol=1e-9)

    def test_no_extrapolation(self) -> None:
        with pytest.raises(ExtrapolationError, match=r"0.500 s after its last pose"):
            self.track().at(2_500_000_000)
        with pytest.raises(ExtrapolationError, match=r"before its first pose"):
            self.track().at(0)
        with pytest.raises(ExtrapolationError, match="between 0 and 1"):
            interpolate(Transform.identity(), Transform.identity(), 1.1)

    def test_gaps_and_bad_tracks(self) -> None:
        poses = [(0, Transform.identity()), (10**9, Transform.identity())]
        assert PoseTrack(poses, max_gap_ns=10**9).at(5).to_frame == ""
        with pytest.raises(ExtrapolationError, match="apart"):
            PoseTrack(poses, max_gap_ns=10**8).at(5)
        with pytest.raises(InvalidArgumentError, match="got none"):
            PoseTrack([])
        with pytest.raises(InvalidArgumentError, match="one stamp twice"):
            PoseTrack([poses[0], poses[0]])
        with pytest.raises(InvalidArgumentError, match="same two frames"):
            PoseTrack([poses[0], (5, Transform.identity("a", "b"))])


class TestGraph:
    def graph(self) -> FrameGraph:
        graph = FrameGraph()
        graph.add(Transform.from_parts(np.eye(3), [1, 0, 0], "map", "base"))
        graph.add(Transform.from_parts(np.eye(3), [0, 1, 0], "base", "camera"))
        start = Transform.identity("camera", "lid")
        end = Transform.from_parts(np.eye(3), [0, 0, 2], "camera", "lid")
        graph.add(PoseTrack([(0, start), (100, end)]))
        graph.add(Transform.identity("moon", "crater"))
        return graph

    def test_lookup_both_ways(self) -> None:
        graph = self.graph()
        np.testing.assert_allclose(graph.lookup("map", "camera").translation, [1, 1, 0])
        np.testing.assert_allclose(graph.lookup("camera", "map").translation, [-1, -1, 0])
        np.testing.assert_allclose(graph.lookup("map", "lid", 50).translation, [1, 1, 1])
        assert graph.lookup("map", "map").matrix[0, 3] == 0

    def test_errors_say_what_is_missing(self) -> None:
        graph = self.graph()
        with pytest.raises(FrameError, match="'odom' is not in the graph"):
            graph.lookup("odom", "map")
        with pytest.raises(FrameError, match="nothing connects 'map' with 'moon'"):
            graph.lookup("map", "moon")
        with pytest.raises(FrameError, match="moves; pass stamp_ns="):
            graph.lookup("map", "lid")
        with pytest.raises(ExtrapolationError):
            graph.lookup("map", "lid", 101)
        with pytest.raises(FrameError, match="a second way"):
            graph.add(Transform.identity("map", "camera"))
        with pytest.raises(FrameError, match="two different frame names"):
            graph.add(Transform.identity("map", ""))


class TestBadInput:
    @pytest.mark.parametrize(
        ("matrix", "words"),
        [
            (np.eye(3), r"shape \(4, 4\)"),
            (np.diag([1, 1, -1, 1.0]), "determinant is -1"),
            (np.diag([2, 1, 1, 1.0]), "must be a rotation matrix"),
            (np.full((4, 4), np.nan), "must be finite"),
            (np.vstack([np.eye(4)[:3], [1, 0, 0, 1]]), "last row"),
        ],
    )
    def test_not_rigid(self, matrix: np.ndarray, words: str) -> None:
        with pytest.raises(InvalidArgumentError, match=words):
            Transform(matrix)

    def test_quaternions(self) -> None:
        with pytest.raises(InvalidArgumentError, match="must have length 1"):
            Transform.from_quaternion([0, 0, 0, 0], [0, 0, 0])
        with pytest.raises(InvalidArgumentError, match=r"shape \(4\)|shape \(4,\)"):
            Transform.from_quaternion([0, 0, 1], [0, 0, 0])
        with pytest.raises(InvalidArgumentError, match="transform covariance must have shape"):
            Transform(np.eye(4), covariance=np.eye(3))
