"""Points, counts and boxes as language rows of a LeRobot dataset (v3), in its own question-and-answer style `vqa`.

layout    the files and features of a dataset; which frames are asked about
frames    images of a camera at the chosen frames: stored images, or videos
rows      an answer as a question row and an answer row
annotate  the dataset with its rows, written as a new folder
"""

from molmo_point.lerobot_dataset.annotate import Report, annotate
from molmo_point.lerobot_dataset.rows import KINDS, Asking

__all__ = ["KINDS", "Asking", "Report", "annotate"]
