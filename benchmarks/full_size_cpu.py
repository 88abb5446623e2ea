"""The CPU's tables of `full_size`: each model and type is loaded from files and measured in a process of its own."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.full_size_files import write_full_size
from benchmarks.report import hardware, table
from molmo_point.machine_memory import available_bytes
from molmo_point.model.machine_speed import types_of
from molmo_point.model.weight_types import bytes_needed

KINDS = ("bfloat16", "int8", "int4")
LIMITS = {("molmoe-1b", "int8"): 8.0, ("molmoe-1b", "int4"): 5.0, ("molmo-7b-d", "int4"): 6.5}
"""Most resident memory after loading, in GB."""

PEAK = 1.15
"""Most memory while loading, in sizes of the loaded weights."""


def run(models: list[str], given: argparse.Namespace) -> None:
    """Measure each model (`name` or `name:kind`), print the tables."""
    print(hardware())
    loads, times = [], []
    for model in models:
        name, _, kind = model.partition(":")
        for dtype in given.files.split(","):
            folder = given.folder / f"{name}-{dtype}"
            shutil.rmtree(folder, ignore_errors=True)
            write_full_size(name, folder, getattr(torch, dtype), given.layers)
            for each in [kind] if kind else KINDS:
                found = measure(folder, each, given)
                print(json.dumps({"model": name, "files": dtype, "layers": given.layers} | found))
                if "load" in found:
                    loads.append(load_cells(name, each, dtype, found["load"], given.layers))
                times += time_cells(name, each, found)
            shutil.rmtree(folder)
    columns = ("model", "files", "weights, GB", "loads in, s (CPU)", "peak, GB", "peak / weights")
    table("Loading", (*columns, "resident, GB", "within the limits"), loads)
    columns = (
        "model",
        "crops",
        "image tokens",
        "preprocess, vision, prefill, s",
        "image, s (CPU)",
    )
    columns += (
        "plain, s (CPU, passes)",
        "drafted, s (CPU, passes)",
        "tokens/s, plain",
        "of the bandwidth",
    )
    table("One point: an image, then the answer on the opened image", columns, times)
    print("\nA cold answer is the image and the answer together.")


def measure(folder: Path, kind: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run one model in one type; return what it measured, as far as it came."""
    from molmo_point.checkpoints.config import MolmoConfig

    needed = bytes_needed(MolmoConfig.from_folder(folder), *types_of(kind))
    free = available_bytes()
    if free is not None and needed > free:
        return {"skipped": f"{kind} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"}
    command = [sys.executable, "-m", "benchmarks.full_size_run", str(folder), kind]
    command += ["--rounds", str(given.rounds), "--crops", given.crops]
    if given.load_only:
        command.append("--load-only")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        print(f"{folder.name} {kind} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def load_cells(
    name: str, kind: str, files: str, found: dict[str, float], layers: int | None
) -> list[str]:
    """Return a row of the table of loading."""
    ratio, resident = found["peak"] / found["weights"], found["resident"] / 1e9
    limit = LIMITS.get((name, kind)) if layers is None else None
    within = ratio <= PEAK and (limit is None or resident <= limit)
    return [
        f"{name} {kind}",
        files,
        f"{found['weights'] / 1e9:.2f}",
        f"{found['s']:.0f} ({found['cpu_s']:.0f})",
        f"{found['peak'] / 1e9:.2f}",
        f"{ratio:.3f}",
        f"{resident:.2f}" + (f" of {limit}" if limit else ""),
        "yes" if within else "no",
    ]


def time_cells(name: str, kind: str, found: dict[str, Any]) -> list[list[str]]:
    """Return a row for each image."""
    rows = []
    for key, part in found.items():
        if not key.endswith("crops"):
            continue
        stages = ", ".join(f"{seconds:.2f}" for seconds in part["stages"].values())
        cells = [f"{name} {kind}", key.split()[0], str(part["image_tokens"]), stages]
        cells.append(f"{part['image']['s']:.1f} ({part['image']['cpu_s']:.1f})")
        for way in ("plain", "drafted"):
            one = part[way]
            cells.append(f"{one['s']:.2f} ({one['cpu_s']:.2f}, {one['passes']})")
        plain = part["plain"]
        cells.append(f"{found['tokens'] / plain['s']:.2f}")
        share = found.get("token_bytes", 0) * plain["passes"] / plain["s"] / found["bandwidth"]
        cells.append(f"{share:.0%}")
        rows.append(cells)
    return rows
