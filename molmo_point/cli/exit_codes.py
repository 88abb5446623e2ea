"""Exit codes of `molmo-point`."""

from __future__ import annotations

FOUND, FAILED, MISTAKE, NOTHING = 0, 1, 2, 3

EXIT_CODES = (
    "Exit codes: 0 found or done; 1 failed, or an answer is incomplete; "
    "2 a mistake on the command line or in a file; 3 nothing there."
)
