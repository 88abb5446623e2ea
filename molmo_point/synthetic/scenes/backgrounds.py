"""Backgrounds of scenes: plain colours, gradients, noise, textures and photographs."""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
HELD_OUT = "held_out_"
"""Prefix of photographs that are used in evaluation scenes only (photos/README.md)."""


def background(rng: np.random.Generator, width: int, height: int, held_out: bool) -> Floats:
    """Draw a background.

    Args:
        held_out: Use the photographs kept for evaluation instead of those for training.

    Returns:
        (height, width, 3) float32 in 0-255.
    """
    draw = rng.random()
    if draw < 0.2:
        return _flat(rng, width, height)
    if draw < 0.4:
        return _gradient(rng, width, height)
    if draw < 0.6:
        return _clouds(rng, width, height)
    if draw < 0.78:
        return _texture(rng, width, height)
    return _photograph(rng, width, height, held_out)


def _colour(rng: np.random.Generator) -> Floats:
    """Return an RGB colour, (3,) in 0-255: greys, pastels and dark tones as often as vivid ones."""
    base = rng.uniform(0, 255)
    return np.clip(base + rng.normal(0, rng.choice([4.0, 25.0, 70.0]), 3), 0, 255).astype(
        np.float32
    )


def _flat(rng: np.random.Generator, width: int, height: int) -> Floats:
    colour = np.array([255, 255, 255], np.float32) if rng.random() < 0.3 else _colour(rng)
    return np.broadcast_to(colour, (height, width, 3)).copy()


def _gradient(rng: np.random.Generator, width: int, height: int) -> Floats:
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    turn = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        ramp = (x * np.cos(turn) + y * np.sin(turn)).astype(np.float32) / 2.9 + 0.5
    else:
        centre = rng.uniform(-0.6, 0.6, 2)
        ramp = np.hypot(x - centre[0], y - centre[1]).astype(np.float32) / 2.2
    ramp = np.clip(ramp, 0, 1)[..., None]
    return (_colour(rng) * (1 - ramp) + _colour(rng) * ramp).astype(np.float32)


def _clouds(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Random colours on a coarse grid, smoothly enlarged, two octaves."""
    out = np.zeros((height, width, 3), np.float32)
    for weight in (1.0, 0.5):
        grid = (int(rng.integers(2, 24)), int(rng.integers(2, 24)), 3)
        coarse = Image.fromarray(rng.integers(0, 256, grid, dtype=np.uint8))
        fine = coarse.resize((width, height), Image.Resampling.BICUBIC)
        out += weight * (np.asarray(fine, np.float32) - 128)
    strength = rng.uniform(0.1, 0.6)
    return np.clip(_colour(rng) + strength * out, 0, 255).astype(np.float32)


def _texture(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Stripes, checks or dots between two colours that are not too far apart."""
    first = _colour(rng)
    second = np.clip(first + rng.normal(0, 30, 3), 0, 255).astype(np.float32)
    turn, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
    x = np.arange(width, dtype=np.float32)[None, :] * np.float32(2 * np.pi / period)
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(2 * np.pi / period)
    along = np.sin(x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn)))
    style = rng.integers(3)
    if style == 0:
        mix = along + 0 * x
    else:
        across = np.sin(y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn)))
        mix = along * across if style == 1 else along + across - 0.9
    mix = np.clip(0.5 + mix * rng.uniform(0.5, 6), 0, 1)[..., None]
    return (first * (1 - mix) + second * mix).astype(np.float32)


def _photograph(rng: np.random.Generator, width: int, height: int, held_out: bool) -> Floats:
    """Cut a window out of a photograph, sometimes mirrored or tinted."""
    photos = _photographs(held_out)
    photo = photos[int(rng.integers(len(photos)))]
    share = rng.uniform(0.4, 1.0)
    scale = share * min(photo.width / width, photo.height / height)
    cut = (max(8, int(width * scale)), max(8, int(height * scale)))
    left = int(rng.integers(0, photo.width - cut[0] + 1))
    top = int(rng.integers(0, photo.height - cut[1] + 1))
    window = (left, top, left + cut[0], top + cut[1])
    out = np.asarray(
        photo.resize((width, height), Image.Resampling.BILINEAR, box=window), np.float32
    )
    if rng.random() < 0.5:
        out = out[:, ::-1]
    return np.clip(out * rng.uniform(0.6, 1.3, 3) + rng.uniform(-20, 20), 0, 255).astype(
        np.float32
    )


@functools.cache
def _photographs(held_out: bool) -> tuple[Image.Image, ...]:
    folder = resources.files(__package__).joinpath("photos")
    photos = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".jpg") and entry.name.startswith(HELD_OUT) == held_out:
            with entry.open("rb") as file:
                photos.append(Image.open(file).convert("RGB"))
    return tuple(photos)
