"""`MolmoHFConfig`: the config.json of a published Molmo as a transformers configuration."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from molmo_point.checkpoints.config import MolmoConfig

PUBLISHED_IMAGES: dict[str, Any] = {
    "base_image_input_size": [336, 336],
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_patch_size": 14,
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_token_length_h": 12,
    "image_token_length_w": 12,
    "max_crops": 12,
    "overlap_margins": [4, 4],
}
"""preprocessor_config.json of all four published models."""

_OTHER_NAMES = {
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "num_key_value_heads": "n_kv_heads",
}
"""Names by which transformers asks for sizes that MolmoE's config.json calls differently."""


class MolmoHFConfig(PretrainedConfig):  # type: ignore[misc]
    """Every key of config.json under its published name. `sizes` checks them."""

    model_type = "molmo"
    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._published = sorted(kwargs)

    def __getattr__(self, name: str) -> Any:
        other = _OTHER_NAMES.get(name)
        if other is not None and self.__dict__.get(other) is not None:
            return self.__dict__[other]
        raise AttributeError(f"{type(self).__name__} has no key {name!r}")

    def sizes(self) -> MolmoConfig:
        """Return the sizes of the network.

        Raises:
            CheckpointError: A key is missing, or asks for something that the network does not support.
        """
        values = {name: getattr(self, name, None) for name in self._published}
        known = {name: value for name, value in values.items() if value is not None}
        crops: dict[str, Any] = {
            name: known[name] for name in ("max_crops", "overlap_margins") if name in known
        }
        return MolmoConfig.from_dicts(
            {"model_type": self.model_type, **known}, {**PUBLISHED_IMAGES, **crops}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the keys as they are written to config.json."""
        written: dict[str, Any] = super().to_dict()
        written.pop("_published", None)
        return written
