"""Tensor parallelism: two gloo processes write the tokens of one process, with small golden models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import UsageError
from molmo_point.model.tensor_parallel import Shard
from molmo_point.model.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden"

CHILD = """
import json, os, sys
import torch
torch.set_num_threads(1)
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
import molmo_point as mp
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.images import load_image
from molmo_point.preprocess.prompt import prompt_tokens

folder, image, question, count = sys.argv[1:]
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
pointer = mp.load(folder, device="cpu", mesh=mesh)
engine = pointer.engine
image, _ = engine.encode(load_image(image))
prompt = prompt_tokens(engine.tokenizer, question)
cache = image.cache.fork(image.cache.length + len(prompt) + int(count))
decoding = DecodeState(prompt, stop=-1, limits=Limits(int(count)), drafter=NoDraft())
tokens = [t for step in generate(engine.model, cache, decoding) for t in step.tokens]
shapes = [list(engine.model.decoder.blocks[0].attention.qkv.weight.shape), cache.keys.shape[2]]
with open(os.path.join(os.environ["OUT"], os.environ["RANK"]), "w") as file:
    json.dump([tokens, shapes], file)
# Nobody leaves before the others are done, and without Python's teardown: gloo's threads sometimes abort in it.
dist.barrier()
dist.destroy_process_group()
os._exit(0)
"""


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("folder", "sizes"),
    [
        # Half of 8 + 2 + 2 heads of 16, one of two key heads.
        (GOLDEN / "models/tiny-72b", [[96, 128], 1]),
        # Half of 6 + 2 + 2 heads of 20.
        (GOLDEN / "molmo2/models/tiny2-q", [[100, 96], 1]),
    ],
    ids=["tiny-72b", "tiny2-q"],
)
def test_two_processes_write_the_golden_tokens(
    folder: Path, sizes: list[object], tmp_path: Path
) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    image = str(folder.parents[1] / "images/img1_640x480.png")
    arguments = [str(folder), image, "Point to the red circle", "24"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OUT": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    golden = np.load(folder / "golden.npz")["img1_640x480/greedy24"].tolist()
    for rank in "01":
        assert json.loads((tmp_path / rank).read_text()) == [golden, sizes]


def test_concatenated_shards_equal_the_whole_model() -> None:
    folder = GOLDEN / "models/tiny-72b"
    config = MolmoConfig.from_folder(folder)
    whole = load_weights(folder, config).decoder.blocks[1]
    parts = [
        load_weights(folder, config, shard=Shard(rank, 2)).decoder.blocks[1] for rank in (0, 1)
    ]
    heads = np.split(whole.attention.out.weight.numpy(), 2, axis=1)
    for part, expected in zip(parts, heads, strict=True):
        np.testing.assert_array_equal(part.attention.out.weight.numpy(), expected)
    up, gate = np.split(whole.ffn.up_gate.weight.numpy(), 2)
    joined = [np.split(part.ffn.up_gate.weight.numpy(), 2) for part in parts]
    np.testing.assert_array_equal(np.concatenate([pair[0] for pair in joined]), up)
    np.testing.assert_array_equal(np.concatenate([pair[1] for pair in joined]), gate)


@pytest.mark.parametrize(
    ("name", "world"),
    [("tiny-o", 2), ("tiny-moe", 2), ("tiny-72b", 4), ("../molmo2/models/tiny2-o", 2)],
)
def test_models_that_cannot_be_split_say_why(name: str, world: int) -> None:
    config = MolmoConfig.from_folder(GOLDEN / "models" / name)
    with pytest.raises(UsageError, match="split"):
        Shard(0, world).config(config)
