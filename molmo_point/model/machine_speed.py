"""How fast this machine's CPU multiplies matrices, measured in a few seconds, and what a network would take on it.

Two numbers describe a kind of weights: seconds that a product with few rows takes for each weight (a decoding pass, limited by
memory), and seconds that a product with many rows takes for each weight and row (an image, limited by arithmetic).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.cpu_features import computes_in_bfloat16
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import SCHEMES
from molmo_point.model.weight_types import BFLOAT16, FLOAT32, WeightTypes

KINDS = ("float32", "bfloat16", "int8", "int4")
"""Kinds of weights, as users choose them."""

FEW, MANY = 8, 512
"""Rows of the two products: of a drafted pass, and about those of a crop."""

PASSES = 7
"""Decoder passes of a one-point answer: the question, then six drafted ones (docs/models.md)."""

REST_OF_VISION = 1.3
"""Time of a vision block to that of its matrix products (ViT-L, bfloat16, 1.32 measured): attention, norms, activations."""

_SHAPE = (4096, 4096)
_SET = 4
"""Matrices in turn, so that none is in the cache when its turn comes."""
_ROUNDS = 5


@dataclass(frozen=True)
class ProductSpeed:
    """Of one kind of weights.

    Attributes:
        few_s: Seconds of a product with FEW rows, for each weight.
        many_s: Seconds of a product with many rows, for each weight and row.
    """

    few_s: float
    many_s: float

    @property
    def operations(self) -> float:
        """Multiplications and additions a second of a product with many rows."""
        return 2 / self.many_s


@dataclass(frozen=True)
class ExpectedTime:
    """Seconds that a network is expected to take.

    Attributes:
        image_s: To read an image with as many crops as the network takes.
        point_s: To answer with one point, the image being read.
    """

    image_s: float
    point_s: float


def types_of(kind: str) -> tuple[WeightTypes, str | None]:
    """Return the types and the scheme of a kind of weights; low-bit ones go with the type in which this processor computes."""
    if kind in SCHEMES:
        return (BFLOAT16 if computes_in_bfloat16() else FLOAT32), kind
    return (FLOAT32 if kind == "float32" else BFLOAT16), None


@torch.inference_mode()
def measure_bandwidth() -> float:
    """Return the bytes a second that a sum over 256 MB reads."""
    numbers = torch.ones(64 * 1024 * 1024)
    return numbers.numel() * numbers.element_size() / _fastest(lambda _: numbers.sum())


@torch.inference_mode()
def measure_products(kind: str) -> ProductSpeed:
    """Time the products of one of KINDS, each as the decoder makes it."""
    types, scheme = types_of(kind)
    products = [_product(types.decoder, scheme) for _ in range(_SET)]
    seconds = []
    for rows in (FEW, MANY):
        x = torch.randn(rows, _SHAPE[1]).to(types.decoder)
        seconds.append(_fastest(lambda turn, x=x: products[turn % _SET](x)))  # type: ignore[misc]
    weights = _SHAPE[0] * _SHAPE[1]
    return ProductSpeed(seconds[0] / weights, seconds[1] / weights / MANY)


def expected_time(config: MolmoConfig, kind: str, speeds: dict[str, ProductSpeed]) -> ExpectedTime:
    """Return what a network takes according to its matrix products.

    Args:
        kind: One of KINDS.
        speeds: Of all of them that this machine was measured with.
    """
    types, _ = types_of(kind)
    full = speeds["bfloat16" if types.vision is torch.bfloat16 else "float32"]
    own = speeds[kind]
    model = _without_weights(config)
    vision = sum(p.numel() for p in model.vision.blocks.parameters() if p.ndim > 1)
    head = model.decoder.head.weight.numel()
    crops = 1 + config.preprocess.max_crops
    seen = vision * crops * config.preprocess.grid_size**2 * full.many_s * REST_OF_VISION
    read = _touched(model, 1) * config.preprocess.most_image_tokens * own.many_s
    answered = PASSES * (_touched(model, FEW) * own.few_s + head * full.few_s)
    return ExpectedTime(seen + read, answered)


@functools.lru_cache(maxsize=1)  # asked for each kind of weights in turn
def _without_weights(config: MolmoConfig) -> Molmo:
    with torch.device("meta"):
        return Molmo(config)


def _touched(model: Molmo, tokens: int) -> float:
    """Return the weights of the decoder's blocks that a pass over that number of tokens reads.

    Of a mixture each token takes some experts: different ones, as if drawn at random.
    """
    sizes = model.config.decoder
    matrices = [p for p in model.decoder.blocks.parameters() if p.ndim > 1]
    experts = sum(p.numel() for p in matrices if p.ndim > 2)
    rest = sum(p.numel() for p in matrices) - experts
    if not sizes.experts:
        return rest + experts
    return rest + experts * (1 - (1 - sizes.experts_per_token / sizes.experts) ** tokens)


def _product(dtype: torch.dtype, scheme: str | None) -> Callable[[Tensor], Tensor]:
    """Return the product with a random matrix."""
    if scheme is None:
        weight = torch.randn(_SHAPE).to(dtype)
        return lambda x: linear(x, weight)
    matrix = SCHEMES[scheme](_SHAPE).to(dtype)
    matrix.codes.random_(0, 127)
    matrix.scales.fill_(0.01)
    matrix.pack()
    return matrix.product


def _fastest(work: Callable[[int], object]) -> float:
    """Return the seconds of the fastest of some calls: the one that other work on the machine disturbed least."""
    times = []
    for turn in range(_ROUNDS + 1):
        start = time.perf_counter()
        work(turn)
        times.append(time.perf_counter() - start)
    return min(times[1:])
