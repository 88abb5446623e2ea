"""Augmentation of rendered images: light, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Bytes = NDArray[np.uint8]


def corrupt_image(pixels: Bytes, rng: np.random.Generator) -> Bytes:
    """Augment an image; nothing in it moves.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        The same shape and type.
    """
    if rng.random() < 0.5:
        pixels = _lit(pixels, rng)
    image = Image.fromarray(pixels)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.2, 1.0))))
    if rng.random() < 0.35:
        image = _compressed(image, int(rng.integers(45, 96)))
    out = np.asarray(image)
    if rng.random() < 0.25:
        out = _noisy(out, rng)
    return out


def _lit(pixels: Bytes, rng: np.random.Generator) -> Bytes:
    """Change contrast, brightness and colour cast, sometimes with light from one side."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
    offset = rng.uniform(-25, 25)
    if rng.random() < 0.5:
        levels = np.arange(256, dtype=np.float32)[:, None] * gain.astype(np.float32) + offset
        table = np.clip(levels, 0, 255).astype(np.uint8)
        return np.stack([table[pixels[..., c], c] for c in range(3)], axis=-1)
    height, width = pixels.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    slope = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    shade = 1 + slope[0] * x + slope[1] * y
    lit = pixels * (shade * gain.astype(np.float32)) + np.float32(offset)
    return np.clip(lit, 0, 255).astype(np.uint8)


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _noisy(pixels: Bytes, rng: np.random.Generator) -> Bytes:
    height, width = pixels.shape[:2]
    # Uniform noise of one value a pixel: a tenth of the cost of Gaussian noise per channel, and as disturbing.
    reach = int(rng.integers(3, 16))
    noise = rng.integers(-reach, reach + 1, (height, width, 1), dtype=np.int16)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)
