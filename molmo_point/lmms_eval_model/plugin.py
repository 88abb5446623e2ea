"""Registers the model class with lmms-eval; imported by lmms-eval alone."""

from __future__ import annotations

from typing import Any

MODEL_ID = "molmo_point"


def manifest() -> Any:
    """Return lmms-eval's `ModelManifest` of the class."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        MODEL_ID, simple_class_path="molmo_point.lmms_eval_model.model.MolmoPointModel"
    )
