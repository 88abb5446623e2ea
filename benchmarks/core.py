"""Time of the stages of one answer: ours and the published remote code, same random weights and threads, in turn.

    python -m benchmarks.core [--reference CODE_FOLDER --reference-python PYTHON] [--layers 12] [--dtype float32]

CODE_FOLDER holds modeling_molmo.py and config_molmo.py of a dense checkpoint; PYTHON is an interpreter with transformers 4.46.
Without them the other side is our own network with plain attention and concatenated embedding tables. The tokens are compared,
too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_checkpoint import MID, write_checkpoint
from benchmarks.report import hardware, spread, table
from benchmarks.side import Side
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.images import load_image
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer

WORKER = Path(__file__).parent / "core_worker.py"
IMAGE = Path(__file__).parents[1] / "tests" / "golden" / "images" / "img0_336x336.png"


def write_inputs(folder: Path, file: Path) -> int:
    """Write one request as arrays; return its length in tokens."""
    config = MolmoConfig.from_folder(folder)
    tokenizer = Tokenizer(folder)
    cut = crop_image(load_image(IMAGE), config.preprocess)
    prefix = image_prefix(cut, config.preprocess, tokenizer.special)
    ids = np.concatenate(
        [prefix.input_ids, tokenizer.encode(format_prompt("Point to the red circle"))]
    )
    np.savez(file, ids=ids, images=cut.crops, masks=cut.masks, index=prefix.image_input_idx)
    return len(ids)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--reference-python", default=sys.executable)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8, help="decoded tokens a round")
    arguments = parser.parse_args()
    base = Path(tempfile.gettempdir()) / "molmo_point_core"
    folder = write_checkpoint(
        base / str(arguments.layers), {**MID, "num_hidden_layers": arguments.layers}
    )
    inputs = base / "inputs.npz"
    length = write_inputs(folder, inputs)
    common = [str(folder), str(inputs), str(arguments.threads), arguments.dtype]
    ours = Side(WORKER, sys.executable, ["ours", *common])
    other_name = "published code" if arguments.reference else "plain path"
    if arguments.reference:
        other = Side(
            WORKER,
            arguments.reference_python,
            ["reference", *common, str(arguments.reference.resolve())],
        )
    else:
        other = Side(WORKER, sys.executable, ["plain", *common])
    print(hardware())
    rows = measure(ours, other, arguments)
    title = f"One image of 336x336, {length} tokens, {arguments.dtype}, {arguments.threads} thread(s); ms, median (range)"
    table(title, ("stage", "ours", other_name, "ratio"), rows)


def measure(ours: Side, other: Side, arguments: Any) -> list[tuple[object, ...]]:
    """Alternate the sides, stage by stage."""
    stages = ("vision", "prefill", f"decode {arguments.tokens}")
    seconds: dict[tuple[str, str], list[float]] = {}
    equal = total = 0
    for _ in range(arguments.rounds):
        for stage in stages:
            mine, my_token = ours.run(stage)
            theirs, their_token = other.run(stage)
            seconds.setdefault((stage, "ours"), []).append(mine)
            seconds.setdefault((stage, "other"), []).append(theirs)
            if stage != "vision":
                equal += my_token == their_token
                total += 1
    rows: list[tuple[object, ...]] = []
    for stage in stages:
        mine_, theirs_ = seconds[stage, "ours"], seconds[stage, "other"]
        if stage == "prefill" and arguments.reference:
            # The published prefill encodes the image again.
            mine_ = [a + b for a, b in zip(mine_, seconds["vision", "ours"], strict=True)]
            stage = "vision and prefill"
        per = arguments.tokens if stage.startswith("decode") else 1
        name = "one decoded token" if per > 1 else stage
        ratio = statistics.median(t / m for m, t in zip(mine_, theirs_, strict=True))
        rows.append((name, spread(mine_, 1e3 / per), spread(theirs_, 1e3 / per), f"{ratio:.2f}x"))
    rows.append(("tokens equal", f"{equal} of {total}", "", ""))
    return rows


if __name__ == "__main__":
    main()
