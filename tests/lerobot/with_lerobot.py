"""LeRobot itself: make a dataset, or read one; run in an environment of its own.

python with_lerobot.py make FOLDER (video|image)
python with_lerobot.py read FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

CAMERA = "observation.images.top"
FRAMES = 12
EPISODES = 2


def make(folder: Path, dtype: str) -> None:
    """Write two episodes of 12 frames at 10 Hz; a frame's brightness is 10 times its number."""
    features = {
        CAMERA: {"dtype": dtype, "shape": (96, 128, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    }
    dataset = LeRobotDataset.create(
        "local/tiny", fps=10, features=features, root=folder, use_videos=dtype == "video"
    )
    for episode in range(EPISODES):
        for number in range(FRAMES):
            image = np.full((96, 128, 3), 10 * number + 100 * episode, np.uint8)
            dataset.add_frame({CAMERA: image, "action": np.zeros(2, np.float32), "task": "pick"})
        dataset.save_episode()
    dataset.finalize()


def read(folder: Path) -> None:
    """Print the language events of each frame, as LeRobot's loader gives them, and what its own validator says."""
    from lerobot.annotations.steerable_pipeline.validator import classify_vqa_answer

    dataset = LeRobotDataset("local/tiny", root=folder)
    events = []
    for index in range(len(dataset)):
        item = dataset[index]
        rows = item["language_events"]
        kinds = [
            classify_vqa_answer(json.loads(r["content"])) for r in rows if r["role"] == "assistant"
        ]
        mean = float(item[CAMERA].mean()) * 255
        events.append(
            {"rows": rows, "kinds": kinds, "brightness": mean, "time": float(item["timestamp"])}
        )
    print(json.dumps({"events": events, "language": dataset.meta.has_language_columns}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), sys.argv[3])
    else:
        read(Path(sys.argv[2]))
