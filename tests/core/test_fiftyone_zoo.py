"""Our model in FiftyOne's own zoo, in an environment of its own (`.venvs/fiftyone`: fiftyone, this package's extra client).

FiftyOne's database is a program that pip fetches from elsewhere; without it only `apply_model` cannot run, and the model can.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from molmo_point.points import Pointing, Status
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer
from tests.environments import environment

ROOT = Path(__file__).resolve().parents[2]


def test_the_zoo_loads_the_model_and_it_answers(tmp_path: Path) -> None:
    folder = environment("fiftyone", "see the head of this file")
    shutil.copytree(ROOT / "examples/fiftyone_zoo", tmp_path / "zoo/molmo-point")
    image = tmp_path / "table.png"
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(image)
    cut = Pointing(query="odd", status=Status.TRUNCATED, image_size=(64, 48))
    pointer = FakePointer({"mug": [(0.25, 0.5), (0.75, 0.5)], "odd": cut})
    options = ServeOptions(zmq=None, publish=None, http=("127.0.0.1", 0))
    with Service(lambda: pointer, options) as service:
        assert service.http is not None
        done = subprocess.run(
            [str(folder / "bin/python"), str(Path(__file__).with_name("with_fiftyone.py")),
             str(tmp_path / "zoo"), service.http.url, str(image)],
            capture_output=True, text=True, timeout=400, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    mugs, dogs, odd = json.loads(done.stdout.splitlines()[-1])
    assert [mug[:2] for mug in mugs] == [["mug", [0.25, 0.5]], ["mug", [0.75, 0.5]]]
    assert (dogs, odd) == ([], "PointError")
