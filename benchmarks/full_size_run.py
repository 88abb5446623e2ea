"""One model of a published size in one type or scheme, in a process of its own: prints a line of JSON (`full_size` calls it).

    python -m benchmarks.full_size_run FOLDER bfloat16|int8|int4 [--crops 1,13] [--tokens 8] [--rounds 1]

Each time is given twice: by the clock, and as CPU time of the process, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.full_size_files import randomise
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.engine.engine import Engine
from molmo_point.engine.generate import Drafter, NoDraft
from molmo_point.engine.load_engine import load_engine
from molmo_point.model.machine_speed import expected_time, measure_bandwidth, measure_products
from molmo_point.preprocess.prompt import format_prompt

ANSWER = ' <point x="63.5" y="44.0" alt="mug">mug</point>'
QUESTION = "Point to the mug."
Times = dict[str, float]


def status(name: str) -> int:
    """Return a number of bytes of /proc/self/status: VmRSS, VmHWM, RssAnon."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name + ":")).split()[1]) * 1024


def timed(work: Callable[[], object]) -> Times:
    """Return the seconds of a call, and its CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return {"s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}


def load(folder: Path, kind: str) -> tuple[Engine, Times]:
    """Load the folder as users do; return the engine and what loading took."""
    before, made = status("VmRSS"), []

    def work() -> None:
        scheme = None if kind == "bfloat16" else kind
        device = torch.device("cpu")
        made.append(
            load_engine(folder, "full", device=device, dtype=torch.bfloat16, scheme=scheme)
        )

    result = timed(work)
    model = made[0].model
    tensors = [*model.parameters(), *model.buffers()]
    result["weights"] = sum(tensor.nbytes for tensor in tensors)
    result |= {"peak": status("VmHWM") - before, "resident": status("VmRSS")}
    return made[0], result


def read_bytes(engine: Engine) -> float:
    """Return the bytes of weights that a pass over one token reads: of a mixture those of the chosen experts."""
    decoder, sizes = engine.model.decoder, engine.model.config.decoder
    tensors = [*decoder.blocks.parameters(), *decoder.blocks.buffers()]
    # Stacks of experts are [E, ...]: matrices of numbers, or their codes and scales.
    experts = [t for t in tensors if sizes.experts and t.ndim > 1 and len(t) == sizes.experts]
    experts = [t for t in experts if t.ndim > 2 or t.shape[1] != sizes.d_model]
    size = sum(t.nbytes for t in tensors) + decoder.head.weight.nbytes
    if experts:
        size -= sum(t.nbytes for t in experts) * (1 - sizes.experts_per_token / sizes.experts)
    return size


class Answers:
    """The answer with one point behind an image, plain or drafted."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.prompt = engine.tokenizer.encode(format_prompt(QUESTION))
        self.script = [*engine.tokenizer.encode(ANSWER), engine.tokenizer.special.end]
        self.passes = 0

    def write(self, image: EncodedImage, *, drafted: bool) -> None:
        """Write it."""
        drafter: Drafter = NoDraft()
        if drafted:
            drafter = GrammarDrafter(
                self.engine.tokenizer, "point", "mug", self.prompt, continuations
            )
        state = ScriptedDecodeState(self.prompt, self.script, drafter)
        self.passes = sum(1 for _ in self.engine.decode(image, state))


def best(rounds: int, work: Callable[[], object]) -> Times:
    """Return the shortest of some calls, each of its two times by itself."""
    times = [timed(work) for _ in range(rounds)]
    return {key: min(one[key] for one in times) for key in times[0]}


def picture(crops: int) -> np.ndarray[Any, Any]:
    """Return an image of noise that is cut into a given number of crops, the global one included."""
    size = {1: (336, 336), 13: (1080, 1920)}[crops]
    return np.random.default_rng(crops).integers(0, 255, (*size, 3), dtype=np.uint8)


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=("bfloat16", "int8", "int4"))
    parser.add_argument("--crops", default="1,13")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--load-only", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    engine, loaded = load(given.folder, given.kind)
    result: dict[str, Any] = {"kind": given.kind, "load": loaded}
    print(json.dumps(result), flush=True)
    if given.load_only:
        return
    randomise(engine.model)
    answers = Answers(engine)
    result["tokens"] = len(answers.script)
    for crops in map(int, given.crops.split(",")):
        image, detail = picture(crops), "low" if crops == 1 else "auto"
        made = []

        def read(image: Any = image, detail: Any = detail, made: list[Any] = made) -> None:
            made.append(engine.encode(image, detail))

        part: dict[str, Any] = {"image": timed(read)}
        encoded, timing = made[0]
        part["stages"] = {"preprocess": timing.preprocess_s, "vision": timing.vision_s}
        part["stages"]["prefill"] = timing.prefill_s
        part["image_tokens"] = encoded.tokens
        for way in ("plain", "drafted"):
            drafted = way == "drafted"
            part[way] = best(
                given.rounds, lambda e=encoded, d=drafted: answers.write(e, drafted=d)
            )
            part[way]["passes"] = answers.passes
        result[f"{crops} crops"] = part
        print(json.dumps(result), flush=True)
    # Beside the decoding, in the same run.
    result["bandwidth"] = measure_bandwidth()
    result["token_bytes"] = read_bytes(engine)
    kinds = {"bfloat16", given.kind}
    speeds = {kind: measure_products(kind) for kind in sorted(kinds)}
    expected = expected_time(engine.model.config, given.kind, speeds)
    result["expected"] = {"image_s": expected.image_s, "point_s": expected.point_s}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
