"""Speed-up by drafts, and the cost of wide passes.

    python -m benchmarks.drafting [nano] [scripted] [width] [--folder CHECKPOINT]

nano      passes and time of real answers, plain and drafted
scripted  the same with scripted answers on random weights, 12 layers of 1024 (unless --folder), one token for each digit
width     time of a pass over several tokens relative to one over a single token
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from pathlib import Path

import numpy as np
import torch

import molmo_point as mp
from benchmarks.random_checkpoint import MID, write_checkpoint
from benchmarks.report import hardware, spread, table
from benchmarks.scripted import ScriptedDecodeState
from benchmarks.timing import alternate, ratio
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.generate import Drafter, NoDraft
from molmo_point.engine.local import LocalPointer
from molmo_point.preprocess.prompt import format_prompt

DEMO = Path(mp.__file__).parent / "nano" / "demo.png"
ANSWERS = {
    "one point": ' <point x="63.5" y="44.0" alt="red mug">red mug</point>',
    "three points": ' <points x1="12.5" y1="44.0" x2="31.0" y2="80.5" x3="63.5" y3="7.5" alt="red mug">red mug</points>',
    "none": " There are none.",
}


def drafts(rounds: int) -> None:
    """Plain against drafted, on the queries of the demo image."""
    plain, drafted = mp.load("nano", drafts=False), mp.load("nano")
    rows = []
    for kind, query in (
        ("point", "watermelon"),
        ("count", "burgers"),
        ("point", "zebra"),
    ):
        views = {"plain": plain.open(DEMO), "drafted": drafted.open(DEMO)}
        answers = {name: getattr(view, kind)(query) for name, view in views.items()}
        assert answers["plain"].text == answers["drafted"].text
        sides = {
            name: functools.partial(getattr(opened, kind), query) for name, opened in views.items()
        }
        seconds = alternate(rounds, **sides)
        passes = [answers[name].timing.forward_passes for name in ("plain", "drafted")]
        rows.append(
            (
                f"{kind} {query}",
                len(answers["plain"].points),
                *passes,
                spread(seconds["plain"]),
                spread(seconds["drafted"]),
                ratio(seconds["plain"], seconds["drafted"]),
            )
        )
    table(
        "Drafted against plain decoding, nano, ms for a question on an opened image",
        ("question", "points", "passes plain", "passes drafted", "plain", "drafted", "ratio"),
        rows,
    )


def scripted_drafts(pointer: LocalPointer, rounds: int) -> None:
    """Plain against drafted on a network of random weights that is made to say given answers (one token a digit)."""
    engine = pointer.engine
    encoded, _ = engine.encode(np.zeros((300, 300, 3), np.uint8))
    prompt = engine.tokenizer.encode(format_prompt("Point to the red mug."))
    passes: dict[str, int] = {}

    def answer(script: list[int], name: str) -> None:
        drafter: Drafter = NoDraft()
        if name == "drafted":
            drafter = GrammarDrafter(engine.tokenizer, "point", "red mug", prompt, continuations)
        decoding = ScriptedDecodeState(prompt, script, drafter)
        passes[name] = sum(1 for _ in engine.decode(encoded, decoding)) - 1

    rows = []
    for what, text in ANSWERS.items():
        script = [*engine.tokenizer.encode(text), engine.tokenizer.special.end]
        ways = ("plain", "drafted")
        seconds = alternate(
            rounds, **{way: functools.partial(answer, script, way) for way in ways}
        )
        times = [seconds[way] for way in ways]
        rows.append((what, *(passes[way] for way in ways), *map(spread, times), ratio(*times)))
    table(
        f"Drafted against plain, {pointer.model}, given answers, ms behind an opened image, the question's prefill included",
        ("answer", "passes plain", "passes drafted", "plain", "drafted", "ratio"),
        rows,
    )


def width(pointer: LocalPointer, rounds: int) -> None:
    """How much longer a pass takes that reads more tokens."""
    model = pointer.network
    encoded, _ = pointer.engine.encode(np.zeros((300, 300, 3), np.uint8))
    cache = encoded.cache.fork(encoded.cache.length + 64)

    @torch.inference_mode()
    def read(tokens: int) -> None:
        ids = torch.zeros(1, tokens, dtype=torch.long, device=model.device)
        positions = torch.arange(cache.length, cache.length + tokens, device=model.device)[None]
        hidden = model.decoder(model.embed(ids), positions, cache=cache)
        # To the CPU: a GPU is waited for.
        model.decoder.logits(hidden[0]).argmax(-1).tolist()

    widths = (1, 2, 4, 8, 12, 16, 21, 32, 48)
    seconds = alternate(rounds, **{str(n): functools.partial(read, n) for n in widths})
    rows = [
        (name, spread(values), f"{min(values) / min(seconds['1']):.2f}x")
        for name, values in seconds.items()
    ]
    table(
        f"A pass over several tokens, {pointer.model}, {model.dtype}, {model.device.type}, ms",
        ("tokens", "pass", "against one token (fastest)"),
        rows,
    )


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = ("nano", "scripted", "width")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = arguments.parts or parts
    print(hardware())
    if "nano" in chosen:
        drafts(arguments.rounds)
    if "width" in chosen:
        width(mp.load("nano"), 4 * arguments.rounds)
    if "scripted" in chosen or "width" in chosen:
        base = Path(tempfile.gettempdir()) / "molmo_point_core" / str(arguments.layers)
        sizes = {**MID, "num_hidden_layers": arguments.layers}
        random = mp.load(arguments.folder or write_checkpoint(base, sizes))
        if "scripted" in chosen:
            scripted_drafts(random, arguments.rounds)
        if "width" in chosen:
            width(random, arguments.rounds)


if __name__ == "__main__":
    main()
