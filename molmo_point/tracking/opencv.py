"""OpenCV for this package: imported in one place, with its own messages turned down."""

from __future__ import annotations

import os

from molmo_point.install import import_failure

# OpenCV reads both when it is loaded. It and FFmpeg write to stderr by themselves, about every late packet of a stream.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

try:
    import cv2 as cv2
except ImportError as error:
    raise import_failure(
        error, "cv2", "tracking", "reading cameras and videos, and following points"
    ) from error
