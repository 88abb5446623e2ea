"""One image and one question to a Molmo 2: ours and `generate` of transformers 5, same weights, threads and inputs, in turn.

    python -m benchmarks.transformers_side [--layers 12] [--dtype float32|bfloat16] [--size 336] [--rounds 3]

The decoder is Qwen3's with 12 layers of 1024 and the published vocabulary, the vision tower the released one; weights are random.
Both sides get the crops that our preprocessing makes (equal byte for byte): theirs needs torchvision. The answer with one
point is a script that both sides are made to write, so that drafts hit as on a trained model. Needs `pip install transformers`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.random_checkpoint import TOKENIZER
from benchmarks.report import hardware, spread, table
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.drafting import GrammarDrafter
from molmo_point.engine.engine import Engine, EngineOptions
from molmo_point.engine.generate import NoDraft, Step
from molmo_point.engine.point_grammar import THOUSANDTHS
from molmo_point.engine.prepared_image import PreparedImage
from molmo_point.model.checkpoint_names import NamingScheme, parameter_slices
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.prompt import prompt_tokens
from molmo_point.preprocess.tokenizer import Tokenizer

TINY = TOKENIZER.parents[1] / "molmo2" / "models" / "tiny2-q"
"""Byte-level tokenizer and configuration of the golden data; its sizes are replaced."""

VIT = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
}
TEXT = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
}
ADAPTER = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "text_hidden_size": 1024,
    "vit_layers": [-3, -9],
}
QUERY = "red mug"
ANSWER = '<points coords="1 1 224 806">red mug</points>'


def write_config(folder: Path, layers: int) -> None:
    """Write the tiny checkpoint's files with the sizes of this benchmark, without weights."""
    for path in TINY.glob("*.json"):
        if path.name not in ("golden.json", "model.safetensors"):
            shutil.copy(path, folder / path.name)
    config = json.loads((TINY / "config.json").read_text())
    config["vit_config"] |= VIT
    config["text_config"] |= {**TEXT, "num_hidden_layers": layers}
    config["adapter_config"] |= ADAPTER
    (folder / "config.json").write_text(json.dumps(config))


def random_model(config: MolmoConfig, dtype: torch.dtype) -> Molmo:
    """Return a network with small random weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Molmo(config)
    model = model.to_empty(device="cpu").to(dtype).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight") or (parameter.ndim == 1 and name.endswith("weight")):
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02)
    return model


@dataclass(frozen=True)
class Run:
    """One question: what the network would have said at each token, and seconds to the image, the first and the last token."""

    said: list[int]
    image_s: float
    first_s: float
    rest_s: float


class ForcedState(ScriptedDecodeState):
    """A scripted answer without drafts that notes what the network itself would have said."""

    def __init__(self, prompt: list[int], script: Sequence[int]) -> None:
        super().__init__(prompt, script, NoDraft())
        self.said: list[int] = []

    def accept(self, logits: torch.Tensor, hidden: torch.Tensor) -> tuple[Step, list[int]]:
        """Accept the next token of the script."""
        self.said.append(int(logits[0].argmax()))
        return super().accept(logits, hidden)


class Ours:
    """The engine, without caches."""

    def __init__(self, model: Molmo, tokenizer: Tokenizer) -> None:
        self.engine = Engine(model, tokenizer, "random", EngineOptions(), None)
        self._tokenizer = tokenizer

    def run(self, image: PreparedImage, prompt: list[int], script: Sequence[int]) -> list[Run]:
        """Answer two questions about an image that is not known yet: without drafts, and with them."""
        self.engine.clear_caches()
        start = time.perf_counter()
        encoded, timing = self.engine.encoder.encode(image)
        read_s = time.perf_counter() - start - timing.vision_s
        plain = ForcedState(prompt, script)
        drafter = GrammarDrafter(
            self._tokenizer, "point", QUERY, prompt, THOUSANDTHS.continuations
        )
        runs = []
        for state in (plain, ScriptedDecodeState(prompt, script, drafter)):
            start = time.perf_counter()
            at = [time.perf_counter() for _ in self.engine.decode(encoded, state)]
            runs.append(Run(plain.said, timing.vision_s, read_s + at[0] - start, at[-1] - at[0]))
        return runs


class Theirs:
    """The same weights, the same memory, in transformers' Molmo 2."""

    def __init__(self, model: Molmo, folder: Path, config: MolmoConfig) -> None:
        from transformers import AutoConfig, Molmo2ForConditionalGeneration

        theirs = AutoConfig.from_pretrained(folder)
        theirs._attn_implementation = "sdpa"
        with torch.device("meta"):
            self.model = Molmo2ForConditionalGeneration(theirs)
        ours = dict(model.named_parameters())
        state = {}
        for name, part in parameter_slices(config, NamingScheme.TRANSFORMERS).items():
            parameter = ours[part.parameter].detach()
            state[name] = part.view(parameter).reshape(part.file_shape(parameter))
        missing, unexpected = self.model.load_state_dict(state, strict=False, assign=True)
        assert not unexpected, unexpected
        assert not missing, missing
        self._restore_tables(theirs)
        self.model.eval()

    def _restore_tables(self, config: Any) -> None:
        """Make the rotary tables again, which are no parameters and were left on `meta`."""
        for module in list(self.model.modules()):
            for name, child in module.named_children():
                if "Rotary" in type(child).__name__:
                    setattr(module, name, type(child)(config.get_text_config()))
        left = [name for name, value in self.model.named_buffers() if value.is_meta]
        assert not left, left

    def inputs(
        self, image: PreparedImage, tokens: Sequence[int], dtype: torch.dtype
    ) -> dict[str, Any]:
        """Return the arguments of `generate`."""
        visual = image.visual
        ids = torch.tensor([[*visual.input_ids.tolist(), *tokens]])
        kinds = torch.zeros_like(ids)
        kinds[0, : len(visual.in_block)] = torch.from_numpy(visual.in_block).long()
        pooled = torch.from_numpy(visual.pooling).long()
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": kinds,
            "pixel_values": torch.from_numpy(visual.crops).to(dtype),
            "image_token_pooling": pooled,
            # One row of pooled tokens stands for both parts of the image: only their number is used.
            "image_grids": torch.tensor([[1, len(pooled), 0, 0]]),
            "image_num_crops": torch.tensor([len(visual.crops)]),
        }

    @torch.inference_mode()
    def run(self, inputs: dict[str, Any], script: Sequence[int]) -> Run:
        """Write the script."""
        steps = _Steps(script, inputs["input_ids"].shape[1])
        embedded: list[float] = []
        projector = self.model.model.multi_modal_projector
        hook = projector.register_forward_hook(lambda *_: embedded.append(time.perf_counter()))
        start = time.perf_counter()
        try:
            self.model.generate(
                **inputs,
                max_new_tokens=len(script),
                min_new_tokens=len(script),
                do_sample=False,
                pad_token_id=0,
                logits_processor=[steps],
            )
        finally:
            hook.remove()
        at = steps.at
        return Run(steps.said, embedded[0] - start, at[0] - embedded[0], at[-1] - at[0])


class _Steps:
    """A logits processor that writes a script, and notes the time of each token and what the network would have said."""

    def __init__(self, script: Sequence[int], length: int) -> None:
        self._script, self._length = script, length
        self.at: list[float] = []
        self.said: list[int] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.at.append(time.perf_counter())
        self.said.append(int(scores[0].argmax()))
        forced = torch.full_like(scores, float("-inf"))
        forced[:, self._script[input_ids.shape[1] - self._length]] = 0.0
        return forced


def measure(ours: Ours, theirs: Theirs, tokenizer: Tokenizer, arguments: Any) -> None:
    """Measure in turn, print the table."""
    dtype = getattr(torch, arguments.dtype)
    side = arguments.size
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    image = ours.engine.prepare(pixels)
    assert isinstance(image, PreparedImage)
    prompt = prompt_tokens(tokenizer, f"Point to {QUERY}")
    script = [*tokenizer.encode(ANSWER), tokenizer.special.end]
    inputs = theirs.inputs(image, prompt, dtype)
    runs: dict[str, list[Run]] = {"plain": [], "drafted": [], "theirs": []}
    for _ in range(arguments.rounds):
        for name, run in zip(("plain", "drafted"), ours.run(image, prompt, script), strict=True):
            runs[name].append(run)
        runs["theirs"].append(theirs.run(inputs, script))
    title = f"{side}x{side} ({image.tokens} image tokens), {arguments.layers} layers, {arguments.dtype}"
    report(runs, f"{title}, {arguments.rounds} rounds", len(script))


def report(runs: dict[str, list[Run]], title: str, answer: int) -> None:
    """Print the table: image, prefill, each further token, and the answer with one point."""
    print(hardware())
    stages: dict[str, tuple[str, Callable[[Run], float]]] = {
        "image embedded": ("plain", lambda run: run.image_s),
        "prefill and first token": ("plain", lambda run: run.first_s),
        "each further token": ("plain", lambda run: run.rest_s / (answer - 1)),
        f"one point, {answer} tokens, behind the first": ("drafted", lambda run: run.rest_s),
        "whole question": ("drafted", lambda run: run.image_s + run.first_s + run.rest_s),
    }
    rows: list[tuple[object, ...]] = []
    for what, (kind, value) in stages.items():
        ours, theirs = ([value(run) for run in runs[side]] for side in (kind, "theirs"))
        ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
        shown = f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        rows.append((what, spread(ours), spread(theirs), shown))
    said = [runs[side][-1].said for side in ("plain", "theirs")]
    equal = sum(a == b for a, b in zip(*said, strict=False))
    rows.append((f"same best token, of {len(said[1])}", equal, "", ""))
    columns = ("stage", "ours", "transformers", "ratio")
    table(f"Compared with transformers' Molmo 2, {title}, ms", columns, rows)


def main() -> None:
    """Build both sides on one set of weights and measure them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=336, help="side of the image in pixels")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_config(folder, arguments.layers)
        config, tokenizer = MolmoConfig.from_folder(folder), Tokenizer(folder)
        model = random_model(config, getattr(torch, arguments.dtype))
        theirs = Theirs(model, folder, config)
    measure(Ours(model, tokenizer), theirs, tokenizer, arguments)


if __name__ == "__main__":
    main()
