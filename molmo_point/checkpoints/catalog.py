"""The models that have a name, with their sizes."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig
from molmo_point.checkpoints.folder import is_complete
from molmo_point.checkpoints.molmo2_sizes import (
    MOLMO2_4B,
    MOLMO2_8B,
    MOLMO2_O_7B,
    MOLMO_POINT_8B,
)

NANO_FOLDER = Path(__file__).parents[1] / "nano"

BYTES_PER_PARAMETER = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


@dataclass(frozen=True)
class CatalogEntry:
    """One model.

    Attributes:
        name: Short name that users type.
        hub_name: Repository on the Hugging Face hub; None for the model in this package.
        parameters: Number of parameters of the published file (molmo.md 1.1); 0 where it is read from the file (`sized`).
        active_parameters: Number of parameters used for one token (fewer in a mixture of experts).
        licence: SPDX name of the weights' licence.
        config: Its sizes; None where they are read from config.json.
    """

    name: str
    hub_name: str | None
    parameters: int
    active_parameters: int
    licence: str
    config: MolmoConfig | None

    def sized(self) -> CatalogEntry:
        """Return the entry with its number of parameters, which is read from the file's header if it is 0."""
        folder = self.folder()
        if self.parameters or folder is None:
            return self
        count = stored_parameters(folder / "model.safetensors")
        return replace(self, parameters=count, active_parameters=count)

    def memory_bytes(self, dtype: str) -> int:
        """Return the bytes of memory that the weights take.

        Args:
            dtype: A key of BYTES_PER_PARAMETER.
        """
        return int(self.parameters * BYTES_PER_PARAMETER[dtype])

    def folder(self) -> Path | None:
        """Return the folder of the weights on this machine, None where they are missing or incomplete."""
        if self.hub_name is None:
            return NANO_FOLDER if (NANO_FOLDER / "model.safetensors").exists() else None
        repository = hub_cache() / ("models--" + self.hub_name.replace("/", "--"))
        snapshots = sorted(path.parent for path in repository.glob("snapshots/*/config.json"))
        return next((folder for folder in reversed(snapshots) if is_complete(folder)), None)


def stored_parameters(path: Path) -> int:
    """Return the number of parameters of a safetensors file, from its header (8 bytes of length, then JSON)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return sum(
        math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"
    )


def hub_cache() -> Path:
    """Return the cache folder of huggingface_hub, which its environment variables set.

    It begins with "~" where neither a home directory (a container's user without an entry in passwd) nor HF_HOME exists.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return _expanded(os.environ[name])
    if os.environ.get("HF_HOME"):
        return _expanded(os.environ["HF_HOME"]) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(path)))


def _qwen(d_model: int, layers: int, heads: int, kv: int, ffn: int, eps: float) -> MolmoConfig:
    decoder = DecoderConfig(
        d_model=d_model,
        layers=layers,
        heads=heads,
        kv_heads=kv,
        ffn_width=ffn,
        vocab_size=152064,
        embedding_size=152064,
        norm_eps=eps,
        qkv_bias=True,
        rope_theta=1_000_000.0,
    )
    return MolmoConfig(decoder, ffn)


_OLMO = DecoderConfig(
    d_model=4096,
    layers=32,
    heads=32,
    kv_heads=32,
    ffn_width=11008,
    vocab_size=100278,
    embedding_size=100352,
    norm_eps=1e-6,
    norm_after=True,
    qk_norm=True,
    rope_theta=500_000.0,
)
_OLMOE = DecoderConfig(
    d_model=2048,
    layers=16,
    heads=16,
    kv_heads=16,
    ffn_width=1024,
    vocab_size=50280,
    embedding_size=50304,
    experts=64,
    experts_per_token=8,
    norm_eps=1e-5,
    qk_norm=True,
    rope_theta=10_000.0,
    max_positions=32768,
)


def _dense(name: str, hub_name: str, parameters: int, config: MolmoConfig) -> CatalogEntry:
    """Return an entry of the second generation."""
    return CatalogEntry(name, hub_name, parameters, parameters, "Apache-2.0", config)


CATALOG: tuple[CatalogEntry, ...] = (
    CatalogEntry("nano", None, 0, 0, "Apache-2.0", None),
    CatalogEntry(
        "molmoe-1b",
        "allenai/MolmoE-1B-0924",
        7_221_875_712,
        1_580_000_000,
        "Apache-2.0",
        MolmoConfig(_OLMOE, _OLMOE.ffn_width),
    ),
    CatalogEntry(
        "molmo-7b-o",
        "allenai/Molmo-7B-O-0924",
        7_665_032_192,
        7_665_032_192,
        "Apache-2.0",
        MolmoConfig(_OLMO, _OLMO.ffn_width),
    ),
    CatalogEntry(
        "molmo-7b-d",
        "allenai/Molmo-7B-D-0924",
        8_021_025_280,
        8_021_025_280,
        "Apache-2.0",
        _qwen(3584, 28, 28, 4, 18944, 1e-6),
    ),
    CatalogEntry(
        "molmo-72b",
        "allenai/Molmo-72B-0924",
        73_308_285_952,
        73_308_285_952,
        "Apache-2.0",
        _qwen(8192, 80, 64, 8, 29568, 1e-5),
    ),
    _dense("molmo2-4b", "allenai/Molmo2-4B", 4_850_869_200, MOLMO2_4B),
    _dense("molmo2-8b", "allenai/Molmo2-8B", 8_661_703_120, MOLMO2_8B),
    _dense("molmo2-o-7b", "allenai/Molmo2-O-7B", 7_760_786_896, MOLMO2_O_7B),
    _dense("molmo2-videopoint-4b", "allenai/Molmo2-VideoPoint-4B", 4_850_869_200, MOLMO2_4B),
    _dense("molmo2-er", "allenai/Molmo2-ER", 4_850_869_200, MOLMO2_4B),
    _dense("molmopoint-8b", "allenai/MolmoPoint-8B", 8_677_855_065, MOLMO_POINT_8B),
    _dense("molmopoint-gui-8b", "allenai/MolmoPoint-GUI-8B", 8_677_855_065, MOLMO_POINT_8B),
)

PHOTOGRAPHS = "molmo2-4b"
"""The smallest model that knows photographs, named to users of one that does not."""


def find(name: str) -> CatalogEntry | None:
    """Return the entry with that short name or hub name (case-insensitive), None if there is none."""
    lowered = name.lower()
    for entry in CATALOG:
        if lowered and lowered in (entry.name, (entry.hub_name or "").lower()):
            return entry
    return None
