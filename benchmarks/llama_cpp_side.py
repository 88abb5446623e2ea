"""Decoding compared with llama.cpp: a decoder of the same shape, the same bits, prefix length and threads, in turn.

    python -m benchmarks.llama_cpp_side molmoe-1b:int4 molmo-7b-d:int4 [--layers N] [--prefix 200] [--threads 2]

Ours is the decoder of the named model; theirs a GGUF file of OLMoE's or Qwen2's shape (Q8_0 for int8, Q4_0 for int4), made
here. Both read the same number of random tokens and then write; the CPU time of both is given, too, which other work on the
machine changes less. llama.cpp runs in a process of its own. Needs `pip install gguf xllamacpp` (`--python` where elsewhere).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.full_size_files import config_of, randomise, write_tokenizer
from benchmarks.full_size_run import ANSWER, QUESTION, timed
from benchmarks.report import hardware, table
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.generate import DecodeState, Drafter, Limits, NoDraft, generate
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import low_bit_matrices, replace_by_low_bits
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer

HERE = Path(__file__).parent
TYPES = {"int8": "Q8_0", "int4": "Q4_0"}


def new_model(name: str, scheme: str, layers: int | None) -> Molmo:
    """Make a model with a random low-bit decoder, its vision tower on the meta device: it takes no memory."""
    config = config_of(name, layers)
    with torch.device("meta"):
        model = replace_by_low_bits(Molmo(config).eval().requires_grad_(False), scheme)
    model = model.to(torch.bfloat16)
    model.decoder.to_empty(device="cpu")
    holder: Any = Holder(model)
    randomise(holder)
    for matrix in low_bit_matrices(model).values():
        matrix.pack()
    return model


class Holder:
    """The decoder alone, as `randomise` takes a model."""

    def __init__(self, model: Molmo) -> None:
        self.device = torch.device("cpu")
        self.parameters = model.decoder.parameters
        self.named_modules = model.decoder.named_modules


class Ours:
    """Our decoder behind a prefix of random tokens."""

    def __init__(self, model: Molmo, prefix: int) -> None:
        self.decoder = model.decoder
        self.device = torch.device("cpu")
        self.prefix = prefix
        self.cache = self._read()

    def embed_rows(self, ids: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
        """Look up tokens."""
        return self.decoder.embedding(ids)

    @torch.inference_mode()
    def _read(self) -> KVCache:
        cache = self.decoder.allocate_cache(self.prefix)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(1000, 50_000, (1, self.prefix), generator=generator)
        x = self.decoder.embedding(ids)
        self.decoder(x, torch.arange(self.prefix)[None], cache=cache)
        cache.keep(range(self.prefix))
        return cache

    def write(self, state: DecodeState) -> int:
        """Write an answer behind the prefix; return the passes."""
        with torch.inference_mode():
            cache = self.cache.fork(self.prefix + state.max_total_tokens)
        model: Any = self
        return sum(1 for _ in generate(model, cache, state))


class Theirs:
    """llama.cpp in a process of its own."""

    def __init__(self, python: str, file: Path, threads: int, prefix: int) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "llama_cpp_process.py"), str(file), str(threads), str(prefix)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.system = self._answer()["system"]

    def write(self, tokens: int) -> dict[str, Any]:
        """Write tokens behind the prefix, which it keeps; return its timings and the CPU seconds."""
        assert self.process.stdin is not None
        print(tokens, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit("llama.cpp ended: is xllamacpp installed for --python?")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def compare(name: str, scheme: str, given: argparse.Namespace, folder: Path) -> list[str]:
    """Measure one model in turn; return its row."""
    config = config_of(name, given.layers)
    file = folder / f"{name}-{scheme}.gguf"
    sizes = json.dumps({**vars(config.decoder)}, default=str)
    subprocess.run(
        [given.python, str(HERE / "llama_cpp_file.py"), str(file), TYPES[scheme], sizes],
        check=True,
    )
    theirs = Theirs(given.python, file, given.threads, given.prefix)
    tokenizer = Tokenizer(write_tokenizer(folder / "tokenizer"))
    ours = Ours(new_model(name, scheme, given.layers), given.prefix)
    prompt = tokenizer.encode(format_prompt(QUESTION))
    script = [*tokenizer.encode(ANSWER), tokenizer.special.end]
    theirs.write(1)
    times: dict[str, list[float]] = {}

    def note(key: str, wall: float, cpu: float) -> None:
        times.setdefault(key, []).append(wall)
        times.setdefault(key + " cpu", []).append(cpu)

    passes = 0
    for turn in range(given.rounds + 1):
        state = DecodeState([17], stop=-1, limits=Limits(given.tokens), drafter=NoDraft())
        one = timed(lambda state=state: ours.write(state))  # type: ignore[misc]
        other = theirs.write(given.tokens)
        drafter: Drafter = GrammarDrafter(tokenizer, "point", "mug", prompt, continuations)
        scripted = ScriptedDecodeState([script[0]], script, drafter)

        def answer(scripted: DecodeState = scripted) -> None:
            nonlocal passes
            passes = ours.write(scripted)

        drafted = timed(answer)
        if turn:
            note("ours", one["s"] / given.tokens, one["cpu_s"] / given.tokens)
            each = other["timings"]["predicted_per_token_ms"] / 1e3
            note("theirs", each, other["cpu_s"] / given.tokens)
            note("drafted", drafted["s"], drafted["cpu_s"])
    theirs.close()
    file.unlink()
    middle = {key: statistics.median(values) for key, values in times.items()}
    print(
        json.dumps(
            {"model": name, "scheme": scheme, "system": theirs.system, "passes": passes, **times}
        )
    )
    cells = [f"{name} {scheme}, {TYPES[scheme]}"]
    for unit in ("", " cpu"):
        ours_s, theirs_s = middle["ours" + unit], middle["theirs" + unit]
        cells += [f"{ours_s * 1e3:.0f}", f"{theirs_s * 1e3:.0f}", f"{theirs_s / ours_s:.2f}x"]
        drafted_s = middle["drafted" + unit]
        cells.append(f"{drafted_s:.2f} s, {len(script) * theirs_s / drafted_s:.2f}x")
    return cells


def main() -> None:
    """Measure each model, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = ["molmoe-1b:int8", "molmoe-1b:int4", "molmo-7b-d:int8", "molmo-7b-d:int4"]
    parser.add_argument("models", nargs="*", default=default)
    parser.add_argument("--layers", type=int, help="Fewer decoder layers than the model has.")
    parser.add_argument("--prefix", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", default=sys.executable, help="Has gguf and xllamacpp.")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(hardware())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            name, _, scheme = model.partition(":")
            rows.append(compare(name, scheme or "int4", given, Path(folder)))
    one = ("ours, ms a token", "llama.cpp", "llama.cpp / ours", "answer drafted, against its time")
    columns = ("model", *one, *(f"CPU: {column}" for column in one))
    table("Decoding behind a prefix, one answer; medians", columns, rows)


if __name__ == "__main__":
    main()
