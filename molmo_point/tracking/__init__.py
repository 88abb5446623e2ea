"""Points at the camera's rate from a model that answers a few times a second.

frame         one image at working size, with its pyramid
flow          patches followed from frame to frame, and detected when they are no longer themselves
frame_buffer  the frames that answers to come may be about
catch_up      an answer carried from its frame to the newest one
identity      which point of a new answer is which followed point
tracker       all of it for one camera

Needs OpenCV (the extra "tracking").
"""

from molmo_point.tracking.catch_up import CatchUp
from molmo_point.tracking.flow import Patches
from molmo_point.tracking.frame import Frame
from molmo_point.tracking.tracker import Tracker

__all__ = ["CatchUp", "Frame", "Patches", "Tracker"]
