"""Names of array types."""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]
"""(..., 2) positions (x, y)."""
Pixels = Union[Bytes, Floats]
"""(H, W, 3) with values 0-255."""
