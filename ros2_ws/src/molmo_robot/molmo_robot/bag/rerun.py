"""`RerunFile`: answers as an .rrd file for the Rerun viewer: images with points, positions with their ellipsoids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_point.install import import_failure

# Values of visualization_msgs/Marker: an ellipsoid that is shown.
SPHERE, ADD = 2, 0


class RerunFile:
    """A file being written; answers are added in the order of their stamps.

    Args:
        path: Of the .rrd file.

    Raises:
        MissingExtra: rerun-sdk is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import rerun
        except ImportError as error:
            raise import_failure(error, "rerun-sdk", "rerun", "--rerun") from error
        self._rerun = rerun
        self._stream = rerun.RecordingStream("molmo-point")
        self._stream.save(str(path))

    def add(self, answer: Any, messages: Mapping[str, Any]) -> None:
        """Add the image of an answer with its points.

        Args:
            answer: What a robot answered.
            messages: Its messages by output name; the ellipsoids of `markers` are shown.
        """
        rr, snapshot = self._rerun, answer.snapshot
        self._stream.set_time("stamp", timestamp=np.datetime64(snapshot.stamp_ns, "ns"))
        self._stream.log("camera/image", rr.Image(snapshot.image))
        labels = [p.point.label or answer.pointing.query for p in answer.points]
        # Rerun counts pixels from the corner of the image, as `Point.pixel` does.
        pixels = [p.point.pixel(*snapshot.image_size) for p in answer.points]
        radius = max(snapshot.image_size) / 100
        self._stream.log(
            "camera/image/points",
            rr.Points2D(np.reshape(pixels, (-1, 2)), labels=labels, radii=radius),
        )
        self._stream.log("answer", rr.TextLog(f"{answer.pointing.status}: {answer.pointing.text}"))
        spheres = [m for m in messages["markers"].markers if (m.type, m.action) == (SPHERE, ADD)]
        self._stream.log(
            f"positions/{answer.position_frame}",
            rr.Ellipsoids3D(
                centers=np.reshape([_xyz(m.pose.position) for m in spheres], (-1, 3)),
                half_sizes=np.reshape([_xyz(m.scale) for m in spheres], (-1, 3)) / 2,
                quaternions=[[*_xyz(m.pose.orientation), m.pose.orientation.w] for m in spheres],
            ),
        )

    def close(self) -> None:
        """Flush and close the file."""
        self._stream.flush()
        self._stream.disconnect()


def _xyz(value: Any) -> list[float]:
    return [value.x, value.y, value.z]
