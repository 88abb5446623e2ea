"""Pointings in the formats of other tools, and back where the format can hold them.

| format       | coordinates                      | keeps                   | back with           |
|--------------|----------------------------------|-------------------------|---------------------|
| Moondream    | 0-1                              | places                  | `from_moondream`    |
| Gemini       | [y, x], integers 0-1000          | places (to 1/1000), labels | `from_gemini`    |
| Qwen-VL      | [x, y], integers 0-1000 or pixels | places (to 1/1000), labels | `from_qwen`     |
| Molmo 1      | percent, one decimal             | places (to 1/1000), one label | `from_molmo` |
| Molmo 2      | thousandths                      | places (to 1/1000), one label | `from_molmo2` |
| RoboPoint    | (x, y), 0-1, three decimals | places               | `from_robopoint`    |
| point tags   | x y, integers 0-1000     | places                  | `from_point_tags`   |
| Perceptron   | (x,y), integers 0-1000   | places (to 1/1000), labels | `from_perceptron` |
| Label Studio | percent                          | places, labels, scores  | `from_label_studio` |
| COCO         | continuous pixels                | places, labels, scores  | `from_coco`         |
| YOLO pose    | 0-1, six decimals                | places, labels          | `from_yolo_pose`    |
| FiftyOne     | 0-1                              | places, labels, scores  |                     |
| supervision  | continuous pixels (float32)      | places, labels, scores  |                     |
| JSON lines   | 0-1                              | everything              | `from_jsonl`        |
| rows, CSV    | 0-1 and pixels                   | places, labels, scores  | `from_csv`          |

RoboPoint, point tags, Perceptron, Molmo and YOLO pose are text; the others up to COCO are dictionaries and lists, ready for
`json.dump`. FiftyOne and supervision need the package they are for.

The `from_*` functions check before they read: an entry that is damaged is skipped and reported, the others are read.
"""

from molmo_point.convert.coco import from_coco, to_coco
from molmo_point.convert.from_table import from_csv
from molmo_point.convert.label_studio import from_label_studio, to_label_studio
from molmo_point.convert.lines import from_jsonl, to_jsonl
from molmo_point.convert.marked_text import (
    from_perceptron,
    from_point_tags,
    from_robopoint,
    to_perceptron,
    to_point_tags,
    to_robopoint,
)
from molmo_point.convert.models import (
    from_gemini,
    from_moondream,
    from_qwen,
    qwen_seen_size,
    to_gemini,
    to_moondream,
    to_qwen,
)
from molmo_point.convert.molmo import from_molmo, from_molmo2, to_molmo, to_molmo2
from molmo_point.convert.reading import TOLERANCE, Converted, Skipped
from molmo_point.convert.table import to_csv, to_rows
from molmo_point.convert.toolkits import (
    to_fiftyone,
    to_supervision,
    to_supervision_detections,
)
from molmo_point.convert.yolo import from_yolo_pose, to_yolo_pose

__all__ = [
    "TOLERANCE",
    "Converted",
    "Skipped",
    "from_coco",
    "from_csv",
    "from_gemini",
    "from_jsonl",
    "from_label_studio",
    "from_molmo",
    "from_molmo2",
    "from_moondream",
    "from_perceptron",
    "from_point_tags",
    "from_qwen",
    "from_robopoint",
    "from_yolo_pose",
    "qwen_seen_size",
    "to_coco",
    "to_csv",
    "to_fiftyone",
    "to_gemini",
    "to_jsonl",
    "to_label_studio",
    "to_molmo",
    "to_molmo2",
    "to_moondream",
    "to_perceptron",
    "to_point_tags",
    "to_qwen",
    "to_robopoint",
    "to_rows",
    "to_supervision",
    "to_supervision_detections",
    "to_yolo_pose",
]
