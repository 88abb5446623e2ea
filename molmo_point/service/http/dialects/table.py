"""The dialects by name."""

from __future__ import annotations

from molmo_point.errors import UsageError
from molmo_point.service.http.dialects.dialect import Dialect
from molmo_point.service.http.dialects.formats import FORMATS
from molmo_point.service.http.dialects.profiles import PROFILES

MOLMO = "molmo"
"""The model's own text, as it is: no dialect."""

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (*FORMATS, *PROFILES)}


def dialect_named(name: str) -> Dialect | None:
    """Return a dialect; None for `molmo`.

    Raises:
        UsageError: There is none of that name.
    """
    if name == MOLMO:
        return None
    if name not in DIALECTS:
        raise UsageError(
            f"there is no answer dialect {name[:40]!r}: expected one of {', '.join([MOLMO, *DIALECTS])}"
        )
    return DIALECTS[name]
