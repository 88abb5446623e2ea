"""Time of decoding: ours and `generate` of the transformers library, same decoder, same weights.

    python -m benchmarks.yardstick [--layers 12] [--width 1024] [--dtype float32|bfloat16] [--tokens 24] [--prefix 400]

Both sides read the same prefix of embeddings, as long as that of an image, and decode greedily; the tokens are compared. Needs
`pip install transformers`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks.random_checkpoint import MID
from benchmarks.report import hardware, spread, table
from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.model.decoder import Decoder


class Ours:
    """Our decoder behind a prefix of embeddings."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.device = decoder.norm.weight.device

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Look up tokens."""
        return self.decoder.embedding(ids)

    @torch.inference_mode()
    def answer(self, prefix: torch.Tensor, first: int, tokens: int) -> list[int]:
        """Read the prefix, then write tokens after `first`."""
        length = prefix.shape[1]
        cache = self.decoder.allocate_cache(length + tokens + 2)
        self.decoder(prefix, torch.arange(length, device=self.device)[None], cache=cache)
        cache.keep(range(length))
        decoding = DecodeState([first], stop=-1, limits=Limits(tokens), drafter=NoDraft())
        model: Any = self
        return [token for step in generate(model, cache, decoding) for token in step.tokens]


class Theirs:
    """The same weights in transformers' Qwen2, which Molmo-7B-D's decoder is."""

    def __init__(self, decoder: Decoder, dtype: torch.dtype) -> None:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        c = decoder.config
        config = Qwen2Config(
            vocab_size=c.embedding_size,
            hidden_size=c.d_model,
            intermediate_size=c.ffn_width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            rms_norm_eps=c.norm_eps,
            rope_theta=c.rope_theta,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
        )
        with torch.device("meta"):
            model = Qwen2ForCausalLM(config)
        model.load_state_dict(renamed(decoder), strict=False, assign=True)
        # Its rotary table is no parameter: made where the weights are.
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
        self.model = model.eval()
        self.dtype = dtype

    @torch.inference_mode()
    def answer(self, prefix: torch.Tensor, first: int, tokens: int) -> list[int]:
        """Read the prefix, then write tokens after `first`."""
        after = self.model.get_input_embeddings()(torch.tensor([[first]], device=prefix.device))
        embeddings = torch.cat([prefix, after], dim=1)
        out = self.model.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
        return out[0].tolist()


def renamed(decoder: Decoder) -> dict[str, torch.Tensor]:
    """Return the decoder's weights under transformers' names; the same memory."""
    state = {
        "model.embed_tokens.weight": decoder.embedding.weight[: decoder.config.embedding_size],
        "model.norm.weight": decoder.norm.weight,
        "lm_head.weight": decoder.head.weight,
    }
    for index, block in enumerate(decoder.blocks):
        name = f"model.layers.{index}"
        attention, ffn = block.attention, block.ffn
        for letter, weight, bias in zip(
            "qkv",
            attention.qkv.weight.split(attention.sizes),
            attention.qkv.bias.split(attention.sizes),
            strict=True,
        ):
            state[f"{name}.self_attn.{letter}_proj.weight"] = weight
            state[f"{name}.self_attn.{letter}_proj.bias"] = bias
        up, gate = ffn.up_gate.weight.chunk(2)
        state |= {
            f"{name}.self_attn.o_proj.weight": attention.out.weight,
            f"{name}.mlp.up_proj.weight": up,
            f"{name}.mlp.gate_proj.weight": gate,
            f"{name}.mlp.down_proj.weight": ffn.down.weight,
            f"{name}.input_layernorm.weight": block.attention_norm.weight,
            f"{name}.post_attention_layernorm.weight": block.ffn_norm.weight,
        }
    return {key: value.detach() for key, value in state.items()}


def new_decoder(width: int, layers: int, dtype: torch.dtype) -> Decoder:
    """Make a decoder like Molmo-7B-D's, smaller, with random weights."""
    config = DecoderConfig(
        d_model=width,
        layers=layers,
        heads=width // 64,
        kv_heads=max(1, width // 256),
        ffn_width=MID["intermediate_size"] // 2 * width // 1024,
        vocab_size=MID["vocab_size"],
        embedding_size=MID["embedding_size"],
        new_embedding_size=128,
        qk_norm=False,
        qkv_bias=True,
        rope_theta=1e6,
    )
    torch.manual_seed(0)
    decoder = Decoder(config)
    for parameter in decoder.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return decoder.to(dtype).eval()


def main() -> None:
    """Measure in turn, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--prefix", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    decoder = new_decoder(arguments.width, arguments.layers, dtype)
    sides = {"ours": Ours(decoder), "transformers": Theirs(decoder, dtype)}
    prefix = torch.randn(1, arguments.prefix, arguments.width, dtype=dtype) * 0.5
    seconds: dict[tuple[str, int], list[float]] = {}
    said: dict[str, list[int]] = {}
    for turn in range(arguments.rounds + 1):
        for name, side in sides.items():
            for count in (1, arguments.tokens + 1):
                start = time.perf_counter()
                said[name] = side.answer(prefix, 17, count)
                if turn:
                    seconds.setdefault((name, count), []).append(time.perf_counter() - start)
    report(seconds, said, arguments.tokens)


def report(
    seconds: dict[tuple[str, int], list[float]], said: dict[str, list[int]], tokens: int
) -> None:
    """Print the table: prefill with the first token, each further token, and whether they agree."""
    print(hardware())
    rows = []
    first = {name: seconds[name, 1] for name in said}
    each = {
        name: [
            (b - a) / tokens for a, b in zip(first[name], seconds[name, tokens + 1], strict=True)
        ]
        for name in said
    }
    for what, values in (("prefix and first token", first), ("each further token", each)):
        ratio = statistics.median(
            b / a for a, b in zip(values["ours"], values["transformers"], strict=True)
        )
        rows.append(
            (what, spread(values["ours"]), spread(values["transformers"]), f"{ratio:.2f}x")
        )
    ours, theirs = said["ours"], said["transformers"]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    rows.append(("tokens equal", f"{equal} of {len(ours)}", "", ""))
    table(
        "Compared with transformers' generate, ms",
        ("stage", "ours", "transformers", "ratio"),
        rows,
    )


if __name__ == "__main__":
    main()
