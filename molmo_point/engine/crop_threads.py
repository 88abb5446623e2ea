"""Crops through the vision tower on a CPU: some crops to each core, instead of all cores for each matrix product.

The products of one crop are small. Where all cores share each of them, they wait for each other hundreds of times a crop, and for
the operating system whenever something else runs on one of them; a server has much else to run. Crops do not depend on each
other, so that each core takes its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from molmo_point.model.vision import VisionTower


class CropThreads:
    """Runs the vision tower with one thread of torch's on each core. Thread-safe.

    Args:
        vision: The vision tower; on other devices than a CPU it is called as it is.
    """

    def __init__(self, vision: VisionTower) -> None:
        self._vision = vision
        self._cores = torch.get_num_threads()
        # Torch's number of threads belongs to the thread that sets it.
        self._pool = ThreadPoolExecutor(
            self._cores, "molmo-vision", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __call__(self, crops: Tensor) -> Tensor:
        """Return the features of crops; shapes as of `VisionTower.forward`."""
        parts = min(self._cores, len(crops))
        if crops.device.type != "cpu" or parts == 1:
            return self._run(crops)
        return torch.cat(list(self._pool.map(self._run, crops.tensor_split(parts))))

    @torch.inference_mode()
    def _run(self, crops: Tensor) -> Tensor:
        features: Tensor = self._vision(crops)
        return features
