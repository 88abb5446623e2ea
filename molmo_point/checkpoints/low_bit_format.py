"""What config.json says about a folder of low-bit weights that `molmo-point quantize` wrote.

"quantization_config": {"quant_method": "molmo-point", "version": 1, "scheme": "int4"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molmo_point.errors import CheckpointError

KEY = "quantization_config"
METHOD = "molmo-point"
VERSION = 1
SCHEMES = ("int8", "int4")
"""The schemes that a folder or `quantize=` can name."""


def quantization_config(scheme: str) -> dict[str, Any]:
    """Return the value of the key."""
    return {"quant_method": METHOD, "version": VERSION, "scheme": scheme}


def stored_scheme(config: Mapping[str, Any]) -> str | None:
    """Return the scheme of a folder's low-bit weights; None for full weights and for those of other tools.

    Args:
        config: Contents of config.json.

    Raises:
        CheckpointError: Another version of the format, or an unknown scheme.
    """
    settings = config.get(KEY)
    if not isinstance(settings, Mapping) or settings.get("quant_method") != METHOD:
        return None
    if settings.get("version") != VERSION:
        raise CheckpointError(
            f"config.json: the low-bit weights have version {settings.get('version')!r} of the format, this molmo-point reads "
            f"{VERSION}: install the version that wrote them, or run molmo-point quantize on the original checkpoint again"
        )
    scheme = settings.get("scheme")
    if scheme not in SCHEMES:
        raise CheckpointError(
            f"config.json: expected {KEY}.scheme to be one of {', '.join(SCHEMES)}, got {scheme!r}"
        )
    return str(scheme)
