"""How many tokens a pass may read for about the price of one, by kind of device.

Measured by `python -m benchmarks.drafting width`, the table's only source. Digits are drafted as a tree (`drafts.digit_ways`,
some twenty tokens) where that many fit: it saves a pass a coordinate and must cost less than it saves. Where weights come out of
slow memory and arithmetic waits, a pass over twenty tokens costs what one over one token does; where arithmetic is what there is
too little of, it does not.
"""

from __future__ import annotations

FREE_TOKENS = {"cpu": 1, "mps": 1, "cuda": 1}
"""Device type -> tokens."""


def free_tokens(device_type: str) -> int:
    """Return the table's number, 1 for a device that nobody has measured."""
    return FREE_TOKENS.get(device_type, 1)
