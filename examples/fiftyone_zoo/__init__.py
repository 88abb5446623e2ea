"""molmo-point as a model of FiftyOne's zoo: `dataset.apply_model(foz.load_zoo_model("molmo-point", query="mugs"), "mugs")`.

Copy this folder into FiftyOne's folder of zoo models (`fiftyone.config.model_zoo_dir`), or register the repository that holds it
with `fiftyone.zoo.register_zoo_model_source`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.models import Model

import molmo_point as mp


class PointModel(Model):  # type: ignore[misc]
    """Answers an image with `fiftyone.Keypoints`; an answer that is cut or cannot be read is an error, never an empty one.

    Args:
        pointer: Answers.
        query: What to point to.
    """

    media_type = "image"
    ragged_batches = True
    transforms = None
    preprocess = False

    def __init__(self, pointer: mp.Pointer, query: str) -> None:
        self._pointer = pointer
        self._query = query

    def predict(self, arg: Any) -> fo.Keypoints:
        """Return the key points of an image, (H, W, 3) uint8 RGB.

        Raises:
            PointError: The question failed, or its answer is not whole.
        """
        pointing = self._pointer.point(arg, self._query)
        if pointing.status not in (mp.Status.FOUND, mp.Status.NOT_FOUND):
            raise mp.PointError(f"the answer is {pointing.status}: {pointing.text[:200]!r}")
        return mp.to_fiftyone(pointing)


def download_model(model_name: str, model_path: str) -> None:
    """Make the folder that FiftyOne looks for; the weights are fetched by `molmo_point.load`."""
    Path(model_path).mkdir(parents=True, exist_ok=True)


def load_model(
    model_name: str, model_path: str, query: str = "", model: str = "nano", connect: str = ""
) -> PointModel:
    """Return the model.

    Args:
        query: What to point to.
        model: As in `molmo_point.load`.
        connect: Address of a server, which is asked instead.
    """
    return PointModel(mp.connect(connect) if connect else mp.load(model), query)
