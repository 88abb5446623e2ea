"""The depth at a pointed pixel, or a status with the reason why there is none.

A pointed pixel is rarely in the middle of its object, and depth images have holes, noise and
"flying" pixels between foreground and background: see `strategies`, which
`benchmarks/calibration_depth.py` measures.
"""

from __future__ import annotations

from molmo_calibration.arrays import ArrayLike, as_finite
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.depth.depth_image import DepthImage
from molmo_calibration.depth.depth_result import DepthResult
from molmo_calibration.depth.depth_samples import registered_samples, unregistered_samples
from molmo_calibration.depth.strategies import DepthOptions, choose_depth
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.geometry.transforms import Transform


def depth_at(
    depth: DepthImage,
    uv: ArrayLike,
    camera: Camera | None = None,
    *,
    options: DepthOptions | None = None,
    image_size: tuple[int, int] | None = None,
    depth_camera: Camera | None = None,
    camera_from_depth: Transform | None = None,
) -> DepthResult:
    """The depth at a pixel of the colour image.

    Args:
        depth: a depth image; registered to the image unless `depth_camera` is given. Registered
            depth may have another resolution.
        uv: (2,) pixel.
        camera: colour camera; needed for radial or unregistered depth.
        options: how to read; `DepthOptions()` if left out.
        image_size: (width, height) of the colour image; that of `camera`, or else of `depth`.
        depth_camera: camera of unregistered depth, with `camera_from_depth`.
        camera_from_depth: depth optical frame to colour optical frame.

    Raises:
        InvalidArgumentError: a pixel that is not finite, arguments that belong together and did
            not come together, or depth of another shape than the image.
    """
    options = options or DepthOptions()
    pixel = as_finite(uv, "uv", (2,))
    radius = max(options.window_px, options.guard_px)
    if depth_camera is None and camera_from_depth is None:
        return choose_depth(registered_samples(depth, pixel, radius, image_size, camera), options)
    if depth_camera is None or camera_from_depth is None or camera is None:
        raise InvalidArgumentError(
            "unregistered depth needs camera=, depth_camera= and camera_from_depth= together"
        )
    limits = (options.min_m, options.max_m)
    samples = unregistered_samples(
        depth, depth_camera, camera, camera_from_depth, pixel, radius, limits
    )
    return choose_depth(samples, options)
