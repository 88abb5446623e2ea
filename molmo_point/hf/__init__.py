"""Molmo under transformers 5 without remote code: `import molmo_point.hf` registers the four first Molmo models.

    import molmo_point.hf
    from transformers import AutoModelForImageTextToText, AutoProcessor
    model = AutoModelForImageTextToText.from_pretrained("allenai/Molmo-7B-D-0924", dtype="bfloat16")

configuration  `MolmoHFConfig`: a checkpoint's config.json, key for key
conversions    published tensor names to the network's parameters and back, as transformers' weight conversions
modeling       `MolmoForConditionalGeneration`: the network of `molmo_point.model` behind transformers' interface
processing     `MolmoProcessor`: the preprocessing of `molmo_point.preprocess` behind transformers' interface

Molmo 2 is native in transformers 5.
"""

from __future__ import annotations

from molmo_point.errors import BrokenInstall
from molmo_point.install import import_failure, install_line

try:
    import transformers
except ImportError as error:
    raise import_failure(error, "transformers", "transformers", "molmo_point.hf") from error

if tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 20):
    # Older versions leave tensors out whose names are patterns, and fill the parameters with noise.
    found = ImportError(f"version {transformers.__version__}, expected 5.20 or newer")
    raise BrokenInstall("transformers", "molmo_point.hf", found, install_line("transformers"))

from molmo_point.hf.configuration import MolmoHFConfig
from molmo_point.hf.conversions import register_conversions
from molmo_point.hf.modeling import MolmoForConditionalGeneration
from molmo_point.hf.processing import MolmoImageProcessor, MolmoProcessor

__all__ = [
    "MolmoForConditionalGeneration",
    "MolmoHFConfig",
    "MolmoImageProcessor",
    "MolmoProcessor",
]


def _register() -> None:
    """Make transformers' Auto classes build these classes for checkpoints of type "molmo"; their own code is never run."""
    transformers.AutoConfig.register("molmo", MolmoHFConfig, exist_ok=True)
    for auto in (transformers.AutoModelForImageTextToText, transformers.AutoModelForCausalLM):
        auto.register(MolmoHFConfig, MolmoForConditionalGeneration, exist_ok=True)
    transformers.AutoProcessor.register(MolmoHFConfig, MolmoProcessor, exist_ok=True)
    transformers.AutoImageProcessor.register(
        MolmoHFConfig, slow_image_processor_class=MolmoImageProcessor, exist_ok=True
    )
    register_conversions(MolmoForConditionalGeneration.__name__)


_register()
