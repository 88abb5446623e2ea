"""What makes the numbers of a camera doubtful without an image of it."""

from __future__ import annotations

from molmo_calibration.cameras.camera import Camera

# The centre of a camera is near the middle of its image; that of another resolution is not.
_MIDDLE = (0.28, 0.72)


def off_centre(camera: Camera) -> str:
    """A sentence if the centre is far from the middle of the full-resolution image; else ""."""
    low, high = _MIDDLE
    cx, cy = camera.matrix[:2, 2]
    if (
        low * camera.width < cx < high * camera.width
        and low * camera.height < cy < high * camera.height
    ):
        return ""
    return (
        f"the centre ({cx:.1f}, {cy:.1f}) is far from the middle of {camera.width} x {camera.height} pixels: "
        "was the calibration made for another resolution or a crop?"
    )
