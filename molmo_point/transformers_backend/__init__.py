"""Vision-language models that transformers implements, behind the `Pointer` interface: `load(name, backend="transformers")`.

loading     a name or folder to a model and its processor; no remote code, no pickles
generation  greedy decoding in a thread: tokens with log-probabilities as they come, until a deadline
pointer     `TransformersPointer`
"""

from molmo_point.transformers_backend.loading import load
from molmo_point.transformers_backend.pointer import TransformersPointer

__all__ = ["TransformersPointer", "load"]
