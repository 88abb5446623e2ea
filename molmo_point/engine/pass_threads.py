"""How many of torch's threads a pass of the decoder uses on a CPU, in a server's thread.

Threads of one product meet at its end. While other threads run (a server decodes images, reads sockets, has clients on the same
machine), one of them is often not on a core, and the others wait for it, spinning. A small decoder has hundreds of products of
microseconds: with 8 clients beside it `nano` took twice the CPU time for each answer with two threads as with one. Where no
image of another question is under way, a pass has them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from molmo_point.model.molmo import Molmo

SMALL_BYTES = 32 * 2**20
"""Weights of a decoder whose passes use one thread: `nano` has 14 MB (1.5 times the answers a second at 8 clients); a
network of 8 layers of 512, with more, has 1.3 times as many answers with two threads."""


class PassThreads:
    """Limits torch's threads for passes.

    Args:
        model: Its decoder and device decide.
    """

    def __init__(self, model: Molmo) -> None:
        weights = sum(parameter.nbytes for parameter in model.decoder.parameters())
        self._single = model.device.type == "cpu" and weights <= SMALL_BYTES

    @contextmanager
    def limited(self, *, alone: bool = False) -> Iterator[None]:
        """Within the block, this thread's products use the threads of a pass.

        Args:
            alone: No image of another question is under way.
        """
        before = torch.get_num_threads()
        if alone or not self._single or before == 1:
            yield
            return
        # The number belongs to the thread that sets it.
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
