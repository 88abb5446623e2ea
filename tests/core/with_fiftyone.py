"""FiftyOne's own zoo loads our model: ZOO_FOLDER ADDRESS IMAGE. Prints its key points, and the error of an answer that is cut."""

from __future__ import annotations

import json
import os
import sys

os.environ["FIFTYONE_MODEL_ZOO_DIR"] = sys.argv[1]
os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
import fiftyone.zoo as foz
import numpy as np
from PIL import Image

image = np.asarray(Image.open(sys.argv[3]).convert("RGB"))
heard = []
for query in ("mug", "dog", "odd"):
    model = foz.load_zoo_model("molmo-point", query=query, connect=sys.argv[2])
    try:
        found = model.predict(image).keypoints
        heard.append([[k.label, k.points[0], k.confidence] for k in found])
    except Exception as error:
        heard.append(type(error).__name__)
print(json.dumps(heard))
