"""Files of users: JSON Lines, COCO annotations, Label Studio's export, tables of points."""

from __future__ import annotations

from molmo_point.datasets.coco import coco_items
from molmo_point.datasets.json_lines import read_json_lines
from molmo_point.datasets.label_studio import is_export, label_studio_items
from molmo_point.datasets.layouts.layout import Layout
from molmo_point.datasets.points_table import read_points_table

JSON_LINES = Layout(
    "json-lines",
    "questions with points or boxes, one object a line",
    "molmo_point/datasets/json_lines.py",
    lambda data: data.suffix not in ("/", ".json", ".parquet", ".csv", ".yaml", ".yml"),
    lambda data, _images: read_json_lines(data.path),
)

COCO = Layout(
    "coco",
    "COCO annotations: key points, masks, boxes",
    "https://cocodataset.org/#format-data",
    lambda data: (
        data.suffix == ".json" and isinstance(data.json(), dict) and not is_export(data.json())
    ),
    lambda data, images: coco_items(data.json(), data.path, images),
)

LABEL_STUDIO = Layout(
    "label-studio",
    "Label Studio's JSON export",
    "https://labelstud.io/guide/export#JSON",
    lambda data: data.suffix == ".json" and is_export(data.json()),
    lambda data, images: label_studio_items(data.json(), data.path, images),
)

TABLE = Layout(
    "table",
    "a table with a row for each point (.csv)",
    "molmo_point/convert/from_table.py",
    lambda data: data.suffix == ".csv",
    lambda data, images: read_points_table(data.path, images),
)
