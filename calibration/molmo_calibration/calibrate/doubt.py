"""A likely mistake in the poses of a hand-eye calibration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """A likely mistake.

    Args:
        grade: best grade that is possible with it: `good` for a mere note, `usable` or `bad`.
        sentence: what it is and what to do.
    """

    grade: str
    sentence: str
