"""Labelled images of users: questions with the points that answer them.

labelled    one question with its answer, and where it came from
json_lines  JSON Lines
converted   what converters read of foreign files, as questions
coco        COCO keypoints and boxes
label_studio  Label Studio's export
points_table  tables with a row for each point
layouts     those of published benchmarks; how data are told apart
masks       masks of objects, and COCO's run lengths
read        any of them, with what cannot be read named; a split into training and held-out images
regions     labelled points as regions, for scoring
manifest    what was read: numbers of items, checksums
"""

from molmo_point.datasets.labelled import BadEntries, LabelledData, LabelledItem
from molmo_point.datasets.read import read_labelled, split_by_image

__all__ = ["BadEntries", "LabelledData", "LabelledItem", "read_labelled", "split_by_image"]
