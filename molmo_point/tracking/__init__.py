"""Points at the camera's rate from a model that answers a few times a second.

flow       patches followed from frame to frame, and told when they are no longer themselves
tracker    points with identities: carried to the newest frame, matched with the next answer, dropped when lost

Needs OpenCV (the extra "tracking").
"""

from molmo_point.tracking.flow import Frame, Patches
from molmo_point.tracking.tracker import Carrier, Tracker

__all__ = ["Carrier", "Frame", "Patches", "Tracker"]
