"""`Check`: one finding of `molmo-point doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        state: "ok"; "missing" (something optional is not there); "failed" (something that should work does not).
        detail: What was found.
        advice: What to type; empty where there is nothing to do.
    """

    name: str
    state: str
    detail: str
    advice: str = ""
