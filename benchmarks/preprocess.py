"""Time of preprocessing a 1920x1080 image: ours and the published image processor, in turn.

    OMP_NUM_THREADS=1 python -m benchmarks.preprocess [--reference CODE_FOLDER --reference-python PYTHON] [--threads 1]

CODE_FOLDER holds the published image_preprocessing_molmo.py; PYTHON is an interpreter with tensorflow, which it resizes with,
einops, torch and transformers 4.46. Without them the other side is the same steps with torch's resize. The crops are compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import hardware, spread, table
from benchmarks.side import Side
from benchmarks.timing import alternate, clock, ratio
from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.crops import ImageCrops, crop_image
from molmo_point.preprocess.resize import place

WORKER = Path(__file__).parent / "preprocess_worker.py"
SIZE = (1920, 1080)


def published_steps(image: np.ndarray, config: PreprocessConfig, cut: ImageCrops) -> np.ndarray:
    """Resize with torch, pad, normalise, cut, as the published processor does."""
    rows, columns = cut.grid

    def fit(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Resize, pad and normalise as the published processor does."""
        x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        where = place(1920, 1080, width, height)
        x = torch.nn.functional.interpolate(
            x[None], size=(where.height, where.width), mode="bilinear", antialias=True
        )[0]
        scaled = x.clip(0, 1).permute(1, 2, 0).numpy()
        below, right = height - where.height - where.top, width - where.width - where.left
        padding = [[where.top, below], [where.left, right]]
        mask = np.pad(np.ones_like(scaled[:, :, 0], dtype=bool), padding)
        padded = np.pad(scaled, [*padding, [0, 0]])
        padded -= np.array(config.mean, np.float32)[None, None, :]
        padded /= np.array(config.std, np.float32)[None, None, :]
        return padded, mask

    def patches(view: np.ndarray) -> np.ndarray:
        return view.reshape(24, 14, 24, 14, -1).transpose(0, 2, 1, 3, 4).reshape(576, -1)

    canvas, inside = fit(224 * rows + 112, 224 * columns + 112)
    low, _ = fit(336, 336)
    places = [(224 * i, 224 * j) for i in range(rows) for j in range(columns)]
    crops = np.stack([canvas[y : y + 336, x : x + 336] for y, x in places])
    masks = np.stack([inside[y : y + 336, x : x + 336] for y, x in places])
    np.stack([patches(mask).astype(np.float32).mean(-1) for mask in masks])
    return np.concatenate([patches(low)[None], np.stack([patches(crop) for crop in crops])])


def beside_steps(image: np.ndarray, rounds: int) -> tuple[str, dict[str, list[float]]]:
    """Time both in this process."""
    config = PreprocessConfig()
    cut = crop_image(image, config)
    assert np.abs(published_steps(image, config, cut) - cut.crops).max() < 1e-4
    seconds = alternate(
        rounds,
        published=lambda: published_steps(image, config, cut),
        ours=lambda: crop_image(image, config),
    )
    return "the published steps with torch's resize", seconds


def beside_code(
    image: np.ndarray, rounds: int, threads: int, code: Path, python: str
) -> tuple[str, dict[str, list[float]]]:
    """Time ours here and the published code in its own interpreter."""
    config = PreprocessConfig()
    seconds: dict[str, list[float]] = {"published": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "image.npy", image)
        side = Side(WORKER, python, [str(code.resolve()), folder, str(threads)])
        for _ in range(rounds + 1):
            seconds["published"].append(side.run("go"))
            seconds["ours"].append(clock(lambda: crop_image(image, config)))
        crops = np.load(Path(folder) / "crops.npy")
    assert np.abs(crops - crop_image(image, config).crops).max() < 2e-3
    # The first round of each loads and plans.
    return "the published code", {name: values[1:] for name, values in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--reference-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    width, height = SIZE
    image = np.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=np.uint8)
    name, seconds = (
        beside_code(
            image, options.rounds, options.threads, options.reference, options.reference_python
        )
        if options.reference
        else beside_steps(image, options.rounds)
    )
    print(hardware())
    row = (
        spread(seconds["published"]),
        spread(seconds["ours"]),
        ratio(seconds["published"], seconds["ours"]),
    )
    table(f"Preprocessing {width}x{height}, ms", (name, "ours", "ratio"), [row])


if __name__ == "__main__":
    main()
