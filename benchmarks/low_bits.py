"""Products with low-bit matrices compared with bfloat16, by the number of rows: python -m benchmarks.low_bits [rows columns]

One thread, one matrix after another of a set that is larger than the processor's cache; medians of
the thread's CPU time in ms, which other work on the machine changes little.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from molmo_point.model.checkpoint_names import ParameterSlice
from molmo_point.model.low_bits import Int4Matrix, Int8Matrix, LowBitMatrix

ROWS = (1, 2, 4, 8, 16, 64, 256)
SET = 8
"""Matrices in turn, so that none is in the cache when its turn comes."""


def main() -> None:
    n, k = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (8192, 3584)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights = [torch.randn(n, k).to(torch.bfloat16) for _ in range(SET)]
    print(f"{n} x {k}, {SET} matrices in turn, one thread, median of 21 in ms")
    print("rows   bfloat16   int8   int4")
    low = {"int8": _quantized(Int8Matrix, weights), "int4": _quantized(Int4Matrix, weights)}
    for rows in ROWS:
        x = torch.randn(rows, k).to(torch.bfloat16)
        times = [_median(lambda i, x=x: torch.nn.functional.linear(x, weights[i]))]
        times += [_median(lambda i, x=x, m=made: m[i].product(x)) for made in low.values()]
        print(f"{rows:4d}   " + "   ".join(f"{value:6.1f}" for value in times))


def _quantized(kind: type[LowBitMatrix], weights: list[torch.Tensor]) -> list[LowBitMatrix]:
    made = []
    for weight in weights:
        matrix = kind(tuple(weight.shape)).to(torch.bfloat16)
        matrix.store(ParameterSlice("weight", (slice(None),)), None, weight)
        matrix.pack()
        made.append(matrix)
    return made


def _median(run: object) -> float:
    taken = []
    for turn in range(21 + SET):
        start = time.thread_time()
        run(turn % SET)  # type: ignore[operator]
        taken.append(time.thread_time() - start)
    return 1000 * statistics.median(taken[SET:])


if __name__ == "__main__":
    with torch.inference_mode():
        main()
