"""Every error this package raises on purpose.

    CalibrationError (ValueError)
    ├── InvalidArgumentError   an array or number of the wrong shape, range or kind
    ├── NotCalibratedError     a camera whose K[0] is 0: ROS drivers send that for an uncalibrated camera
    ├── CameraFileError        a camera, pose or pointing file with a missing or unreadable key
    ├── FrameError             frames that do not fit together or are not connected
    ├── ExtrapolationError     a pose asked for outside the time it was observed
    ├── BoardNotFoundError     an image without the board, or with a mirrored one
    ├── TooFewViewsError       not enough images, poses or views for an answer
    └── DegenerateError        enough data, but it does not determine the answer
    MissingExtraError (ImportError)   a library beyond numpy is needed and not installed
    BrokenLibraryError (ImportError)  a library is installed and does not load

Each message says what was expected, what came, and what to do about it.
"""

from __future__ import annotations


class CalibrationError(ValueError):
    """The input cannot be used; the root of every error of this package but one."""


class InvalidArgumentError(CalibrationError):
    """An argument has the wrong shape, range or kind."""


class NotCalibratedError(CalibrationError):
    """The camera carries no calibration: K[0] is 0."""


class CameraFileError(CalibrationError):
    """A file or message lacks a key, or holds something that cannot be read."""


class FrameError(CalibrationError):
    """Two frames do not fit together, or nothing connects them."""


class ExtrapolationError(FrameError):
    """A pose was asked for before the first or after the last time it was seen."""


class BoardNotFoundError(CalibrationError):
    """The calibration board could not be found in an image."""


class TooFewViewsError(CalibrationError):
    """There are fewer images, poses or views than the answer needs."""


class DegenerateError(CalibrationError):
    """The data do not determine the answer, however many of them there are."""


class MissingExtraError(ImportError):
    """A library that numpy alone does not bring is missing.

    Args:
        library: name of the library as people know it.
        purpose: what it was needed for.
        install: the whole pip line that brings it.
    """

    def __init__(self, library: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed; run: {install}")


class BrokenLibraryError(ImportError):
    """A library is installed, but cannot be imported.

    Args:
        library: name of the library as people know it.
        purpose: what it was needed for.
        error: what its import raised.
        install: the pip line that installs the versions that fit.
    """

    def __init__(self, library: str, purpose: str, error: ImportError, install: str) -> None:
        reason = " ".join(str(error).split())
        if ".so" in reason:
            advice = (
                "install the system package that holds that file (OpenCV without a display needs "
                "none: opencv-python-headless)"
            )
        else:
            advice = f"its version may not fit the others; run: {install} --force-reinstall"
        super().__init__(
            f"{purpose} needs {library}, which is installed but does not load ({reason}); {advice}"
        )
