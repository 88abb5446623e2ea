"""Speed-up of the engine's features over the plain way, both measured in turn.

    python -m benchmarks.engine [view] [screenshot] [batch] [stages] [bandwidth] [--folder CHECKPOINT]

view        ten questions about one opened image, ten separate answers
screenshot  an image with a changed corner, a new image
batch       answers per second at batch 1, 2, 4, 8 (on a random model of 12 layers of 1024, unless --folder)
stages      time of each stage of one answer
bandwidth   weights read by decoding, as a share of the memory bandwidth measured in the same run (bfloat16)
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import molmo_point as mp
from benchmarks.random_checkpoint import MID, write_checkpoint
from benchmarks.report import hardware, spread, table
from benchmarks.timing import alternate, clock, ratio
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.engine.local import LocalPointer
from molmo_point.preprocess.prompt import format_prompt

NANO = Path(mp.__file__).parent / "nano"


def view(pointer: LocalPointer, rounds: int) -> None:
    """One image, ten questions."""
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    questions = [f"thing {number}" for number in range(10)]

    def separate() -> None:
        for question in questions:
            pointer.close()
            pointer.point(image, question)

    def together() -> None:
        pointer.close()
        with pointer.open(image) as opened:
            for question in questions:
                opened.point(question)

    seconds = alternate(rounds, separate=separate, together=together)
    slow, fast = seconds["separate"], seconds["together"]
    table(
        f"Ten questions on one image of 640x480, {pointer.model}, ms",
        ("ten separate answers", "on the opened image", "ratio"),
        [(spread(slow), spread(fast), ratio(slow, fast))],
    )


def screenshot(pointer: LocalPointer, rounds: int) -> None:
    """A screenshot of six crops with a changed corner: one crop and the global crop are encoded again."""
    crop = pointer.network.config.preprocess
    step = crop.crop_size - sum(crop.margins) * crop.patch_size
    image = np.random.default_rng(0).integers(0, 255, (2 * step, 3 * step, 3), dtype=np.uint8)
    changed = image.copy()
    changed[-30:, -30:] = 0
    engine = pointer.engine
    seconds: dict[str, list[float]] = {"fresh": [], "corner": []}
    crops: dict[str, int] = {}
    for _ in range(rounds):
        pointer.close()
        for name, screenshot in (("fresh", image), ("corner", changed)):
            start = time.perf_counter()
            crops[name] = engine.encode(screenshot)[1].crops
            seconds[name].append(time.perf_counter() - start)
    slow, fast = seconds["fresh"], seconds["corner"]
    height, width = image.shape[:2]
    table(
        f"A screenshot of {width}x{height}, then the same with a changed corner, {pointer.model}, ms until it can be asked about",
        ("crops", "from nothing", "crops that changed", "with what is known", "ratio"),
        [(crops["fresh"], spread(slow), crops["corner"], spread(fast), ratio(slow, fast))],
    )


def batch(pointer: LocalPointer, tokens: int) -> None:
    """Answers per second of several requests side by side; answers of a fixed number of tokens."""
    engine = pointer.engine
    rng = np.random.default_rng(1)
    images = [
        engine.encode(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))[0] for _ in range(8)
    ]
    prompt = engine.tokenizer.encode(format_prompt("Point to the red mug"))
    from molmo_point.engine.batch import BatchDecoder, BatchEntry

    def run(rows: int) -> None:
        decoder = BatchDecoder(
            engine.model, rows, images[0].cache.length + len(prompt) + tokens + 40
        )
        jobs = (
            BatchEntry(
                encoded.cache,
                DecodeState(prompt, stop=-1, limits=Limits(tokens), drafter=NoDraft()),
                key,
            )
            for key, encoded in enumerate(images)
        )
        for _ in decoder.run(jobs):
            pass

    seconds = alternate(3, **{str(rows): (lambda rows=rows: run(rows)) for rows in (1, 2, 4, 8)})
    rows = [
        (name, f"{8 / statistics.median(values):.2f}", ratio(seconds["1"], values))
        for name, values in seconds.items()
    ]
    table(
        f"Eight answers of {tokens} tokens on eight images (already encoded), {pointer.model}",
        ("side by side", "answers per second", "against one at a time"),
        rows,
    )


def stages(pointer: LocalPointer) -> None:
    """Where one answer's time goes, from a file to points: the demo's own question."""
    query = json.loads((NANO / "demo.json").read_text())["query"]
    timings = []
    for _ in range(3):
        pointer.close()
        timings.append(pointer.point(NANO / "demo.png", query).timing)
    names = ("preprocess_s", "vision_s", "prefill_s", "decode_s", "total_s")
    rows = [(name[:-2], spread([getattr(timing, name) for timing in timings])) for name in names]
    rows.append(("tokens", str(timings[0].new_tokens)))
    rows.append(("passes after the prefill", str(timings[0].forward_passes)))
    table(f"Stages of one answer at 640x480, {pointer.model}, ms", ("stage", "time"), rows)


def bandwidth(folder: Path, tokens: int) -> None:
    """Decoding reads every weight of the decoder once a token: how near is that to reading memory at full speed?"""
    pointer = mp.load(folder, dtype="bfloat16")
    decoder = pointer.network.decoder
    weights = [*decoder.blocks.parameters(), *decoder.head.parameters()]
    size = sum(p.numel() * p.element_size() for p in weights)
    big = torch.randn(64_000_000, dtype=torch.float32)
    encoded, _ = pointer.engine.encode(np.zeros((100, 100, 3), np.uint8))
    prompt = pointer.engine.tokenizer.encode(format_prompt("Point"))
    cache = encoded.cache.fork(encoded.cache.length + len(prompt) + tokens)
    steps = generate(
        pointer.network,
        cache,
        DecodeState(prompt, stop=-1, limits=Limits(tokens), drafter=NoDraft()),
    )
    next(steps)
    # In turn: what a shared machine leaves of its memory changes from one second to the next.
    turns = [(clock(lambda: next(steps)), clock(lambda: big.sum())) for _ in range(tokens - 1)]
    seconds = [token for token, _ in turns]
    rate = size / statistics.median(seconds)
    read = big.numel() * 4 / statistics.median([taken for _, taken in turns])
    row = (
        f"{size / 1e9:.2f} GB",
        spread(seconds),
        f"{rate / 1e9:.1f}",
        f"{read / 1e9:.1f}",
        f"{rate / read:.0%}",
    )
    table(
        "Decoding against memory bandwidth, bfloat16",
        (
            "weights read a token",
            "ms a token",
            "GB/s reached",
            "GB/s measured (sum of 256 MB)",
            "share",
        ),
        [row],
    )


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = ("view", "screenshot", "batch", "stages", "bandwidth")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = arguments.parts or parts
    print(hardware())

    def mid() -> Path:
        base = Path(tempfile.gettempdir()) / "molmo_point_core" / str(arguments.layers)
        return arguments.folder or write_checkpoint(
            base, {**MID, "num_hidden_layers": arguments.layers}
        )

    if "view" in chosen:
        view(mp.load("nano"), arguments.rounds)
    if "screenshot" in chosen:
        screenshot(mp.load("nano", max_new_tokens=1), arguments.rounds)
        screenshot(mp.load(mid()), 2)
    if "stages" in chosen:
        stages(mp.load("nano"))
    if "batch" in chosen:
        batch(mp.load(mid()), arguments.tokens)
    if "bandwidth" in chosen:
        bandwidth(mid(), arguments.tokens)


if __name__ == "__main__":
    main()
