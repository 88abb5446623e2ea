"""One side of `benchmarks.core`: loads a checkpoint, then does on request one stage at a time and prints its seconds.

    python core_worker.py SIDE CHECKPOINT INPUTS.npz THREADS DTYPE [REFERENCE_CODE]

SIDE is "ours", "plain" (ours with textbook attention and the embedding tables joined on every pass, as published) or
"reference" (the published remote code, read from the folder REFERENCE_CODE; needs transformers 4.46). Commands on stdin: vision,
prefill, decode N. Needs nothing of this package for "reference", so that it runs in that code's own environment.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Ours:
    """This package."""

    def __init__(self, folder: Path, inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
        from molmo_point.checkpoints.config import MolmoConfig
        from molmo_point.model.weights import load_weights

        self.model = load_weights(folder, MolmoConfig.from_folder(folder), dtype=dtype)
        self.inputs = inputs

    def vision(self) -> None:
        self.features = self.model.encode_images(self.inputs["images"], self.inputs["masks"])

    def prefill(self) -> None:
        ids = self.inputs["ids"][None]
        x = self.model.embed(ids, self.features[None], self.inputs["index"][None])
        self.cache = self.model.decoder.allocate_cache(ids.shape[1] + 256)
        positions = torch.arange(ids.shape[1])[None]
        hidden = self.model.decoder(x, positions, cache=self.cache)
        self.cache.keep(range(ids.shape[1]))
        self.token = self.model.decoder.logits(hidden[:, -1:]).argmax(-1)

    def decode(self) -> None:
        positions = torch.tensor([[self.cache.length]])
        hidden = self.model.decoder(self.model.embed(self.token), positions, cache=self.cache)
        self.cache.keep(range(1))
        self.token = self.model.decoder.logits(hidden).argmax(-1)


class Plain(Ours):
    """The same network the way the published code does it: heads repeated, full mask, tables joined on every pass."""

    def __init__(self, folder: Path, inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
        super().__init__(folder, inputs, dtype)
        from molmo_point.model import decoder as module

        module.attention = textbook_attention  # type: ignore[attr-defined]
        table = self.model.decoder.embedding.weight
        rows = self.model.config.decoder.embedding_size
        self.tables = (table[:rows].clone(), table[rows:].clone())
        embedding = self.model.decoder.embedding
        embedding.forward = lambda ids: torch.cat(self.tables)[ids]  # type: ignore[method-assign]


def textbook_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """softmax(q k^T / sqrt(d) + bias) v with every key head repeated."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    queries, keys = q.shape[2], k.shape[2]
    bias = torch.full((queries, keys), torch.finfo(torch.float32).min).triu(keys - queries + 1)
    scores = q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
    return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


class Reference:
    """The published remote code."""

    def __init__(
        self, folder: Path, inputs: dict[str, torch.Tensor], dtype: torch.dtype, code: Path
    ) -> None:
        from safetensors.torch import load_file

        sys.path.insert(0, str(code.parent))
        config = json.loads((folder / "config.json").read_text())
        settings = importlib.import_module(f"{code.name}.config_molmo").MolmoConfig(**config)
        network = importlib.import_module(f"{code.name}.modeling_molmo").MolmoForCausalLM
        torch.set_default_dtype(dtype)
        self.model = network(settings).eval()
        torch.set_default_dtype(torch.float32)
        state: dict[str, torch.Tensor] = {}
        for file in sorted(folder.glob("*.safetensors")):
            state.update(load_file(file))
        self.model.load_state_dict(state)
        self.model = self.model.to(dtype)
        self.inputs = {**inputs, "images": inputs["images"].to(dtype)}

    def vision(self) -> None:
        self.model.model.vision_backbone(self.inputs["images"][None], self.inputs["masks"][None])

    def prefill(self) -> None:
        """Vision included: the published code cannot take finished features."""
        ids = self.inputs["ids"][None]
        out = self.model(
            ids,
            images=self.inputs["images"][None],
            image_masks=self.inputs["masks"][None],
            image_input_idx=self.inputs["index"][None],
            use_cache=True,
            last_logits_only=True,
        )
        self.past: Any = out.past_key_values
        self.length = ids.shape[1]
        self.token = out.logits[:, -1:].argmax(-1)

    def decode(self) -> None:
        out = self.model(
            self.token,
            attention_mask=torch.ones(1, self.length + 1, dtype=torch.long),
            position_ids=torch.tensor([[self.length]]),
            past_key_values=self.past,
            use_cache=True,
            last_logits_only=True,
        )
        self.past, self.length = out.past_key_values, self.length + 1
        self.token = out.logits[:, -1:].argmax(-1)


@torch.inference_mode()
def main() -> None:
    """Serve commands."""
    side, folder, file, threads, dtype, *code = sys.argv[1:]
    torch.set_num_threads(int(threads))
    inputs = {key: torch.from_numpy(value) for key, value in np.load(file).items()}
    inputs["ids"] = inputs["ids"].long()
    kind = getattr(torch, dtype)
    if side == "reference":
        worker: Any = Reference(Path(folder), inputs, kind, Path(code[0]))
    else:
        worker = {"ours": Ours, "plain": Plain}[side](Path(folder), inputs, kind)
    print("ready", flush=True)
    for line in sys.stdin:
        stage, *count = line.split()
        start = time.perf_counter()
        for _ in range(int(count[0]) if count else 1):
            getattr(worker, stage)()
        token = int(worker.token) if hasattr(worker, "token") else -1
        print(json.dumps([time.perf_counter() - start, token]), flush=True)


if __name__ == "__main__":
    main()
