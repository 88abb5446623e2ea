"""The published image processor for `benchmarks.preprocess`, in an interpreter that has what it needs.

    python preprocess_worker.py CODE_FOLDER FOLDER THREADS

FOLDER holds image.npy and gets crops.npy. Every line on stdin is answered with the seconds of one call.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np


def stand_in_for_torchvision() -> None:
    """The published file imports names of torchvision and uses none of them: there need be no build of it."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: types.ModuleType(name) for name in names}
    modules["torchvision"].transforms = modules["torchvision.transforms"]  # type: ignore[attr-defined]
    mode = types.SimpleNamespace(BILINEAR="bilinear")
    modules["torchvision.transforms"].InterpolationMode = mode  # type: ignore[attr-defined]
    modules["torchvision.transforms.functional"].convert_image_dtype = None  # type: ignore[attr-defined]
    sys.modules.update(modules)


def main() -> None:
    """Answer until stdin ends."""
    code, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    # Looks for a real torchvision when it is first imported.
    import transformers.image_utils

    assert transformers.image_utils is not None
    stand_in_for_torchvision()
    sys.path.insert(0, code)
    from image_preprocessing_molmo import MolmoImageProcessor

    processor = MolmoImageProcessor()
    image = np.load(folder / "image.npy")
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        crops, *_ = processor.preprocess(image, 1, 2, 3, 4)
        seconds = time.perf_counter() - began
        np.save(folder / "crops.npy", crops)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
