"""Runs in the environment of lmms-eval: its tasks pixmo_count and where2place on local rows; prints their metrics as JSON.

    python with_lmms_eval.py ROWS.json FOLDER

ROWS.json: [{"image": PATH, "question": TEXT, "answer": TEXT, "mask": PATH}, ...].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lmms_eval.tasks
from datasets import Dataset, Image
from lmms_eval import evaluator
from lmms_eval.tasks import TaskManager

TASKS = {
    "local_count": "pixmo_count/pixmo_count.yaml",
    "local_place": "where2place/where2place.yaml",
}


def main(rows_file: str, folder: Path) -> None:
    """Write rows and tasks into the folder, run the tasks."""
    rows = json.loads(Path(rows_file).read_text())
    table = [{**row, "question_id": number} for number, row in enumerate(rows)]
    data = Dataset.from_list(table).cast_column("image", Image()).cast_column("mask", Image())
    data.to_parquet(folder / "rows.parquet")
    published = Path(lmms_eval.tasks.__file__).parent
    (folder / "tasks").mkdir()
    for name, original in TASKS.items():
        (folder / "tasks" / f"{name}.yaml").write_text(
            f"include: {published / original}\ntask: {name}\ndataset_path: parquet\n"
            f"dataset_kwargs:\n  data_files:\n    test: {folder / 'rows.parquet'}\n"
        )
    found = evaluator.simple_evaluate(
        "molmo_point",
        model_args="model=nano",
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(folder / "tasks")),
        batch_size=1,
    )
    print(json.dumps({name: found["results"][name] for name in TASKS}, default=str))


main(sys.argv[1], Path(sys.argv[2]))
