"""Low-rank adapters (LoRA, arXiv 2106.09685) on the linear layers of the network, for training.

Letters: r rank, E experts, M rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.checkpoint_names import (
    ParameterSlice,
    detect_naming_scheme,
    parameter_slices,
)
from molmo_point.model.molmo import Molmo

PARTS = ("vision", "connector", "decoder")


class LowRank(nn.Module):
    """Two matrices whose product is added to a layer's weight: x -> scale * (x down^T) up^T.

    Args:
        inputs, outputs: Widths of the layer.
        rows: The rows of the weight that it is added to; None = all.
        down: Its initial value [r, inputs] is drawn from this; `up` is zero, so that the layer is unchanged at first.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rank: int,
        scale: float,
        rows: slice | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.rows = rows
        self.scale = scale
        bound = inputs**-0.5
        self.down = nn.Parameter(
            torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)
        )
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., inputs]
        return F.linear(F.linear(x.to(self.down.dtype), self.down), self.up) * self.scale


class AdaptedLinear(nn.Module):
    """A frozen linear layer and its low-rank parts, each of them under the name of its layer in the published checkpoint."""

    def __init__(self, base: nn.Linear, parts: dict[str, LowRank]) -> None:
        super().__init__()
        self.base = base
        self.names = tuple(parts)
        self.parts = nn.ModuleList(parts.values())

    @property
    def weight(self) -> Tensor:
        """The frozen weight."""
        return self.base.weight

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.base.in_features

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.base.out_features

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., inputs]
        out: Tensor = self.base(x)
        first = self.parts[0]
        assert isinstance(first, LowRank)
        if first.rows is None:
            return out + first(x).to(out.dtype)
        # The layers of a published checkpoint that are one here; those without an adapter add nothing.
        added = torch.zeros_like(out)
        for part in self.parts:
            assert isinstance(part, LowRank)
            added[..., part.rows] = part(x).to(out.dtype)
        return out + added


class AdaptedExperts(nn.Module):
    """The frozen weights of all experts of a mixture [E, outputs, inputs], and a low-rank part for each expert.

    Attributes:
        base: The frozen weights.
        names: For each part, the names of its layer for every expert.
    """

    def __init__(self, base: nn.Parameter, parts: dict[tuple[str, ...], LowRankExperts]) -> None:
        super().__init__()
        self.base = base
        self.names = tuple(parts)
        self.parts = nn.ModuleList(parts.values())

    def product(self, rows: Tensor, expert: int) -> Tensor:
        """Return rows [M, inputs] times the transposed matrix of an expert."""
        out = F.linear(rows, self.base[expert])
        pieces = []
        for part in self.parts:
            assert isinstance(part, LowRankExperts)
            pieces.append(part(rows, expert))
        return out + torch.cat(pieces, dim=-1).to(out.dtype)


class LowRankExperts(nn.Module):
    """Two matrices for each expert, as in `LowRank`: down [E, r, inputs], up [E, outputs, r]."""

    def __init__(
        self,
        experts: int,
        inputs: int,
        outputs: int,
        rank: int,
        scale: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.scale = scale
        bound = inputs**-0.5
        self.down = nn.Parameter(
            torch.empty(experts, rank, inputs).uniform_(-bound, bound, generator=generator)
        )
        self.up = nn.Parameter(torch.zeros(experts, outputs, rank))

    def forward(self, x: Tensor, expert: int) -> Tensor:
        # x: [M, inputs]
        x = x.to(self.down.dtype)
        return F.linear(F.linear(x, self.down[expert]), self.up[expert]) * self.scale


def add_adapters(
    model: Molmo, parts: tuple[str, ...], rank: int, alpha: float, seed: int = 0
) -> int:
    """Freeze the network and put low-rank adapters on its linear layers; return the number of adapted layers.

    The output head and the router of a mixture keep none.

    Args:
        parts: Of PARTS.
        alpha: Products are scaled by alpha / rank.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    scale = alpha / rank
    names = _layer_names(model.config)
    adapted = 0
    for path, module in list(model.named_modules()):
        if path.split(".")[0] not in parts or path.endswith((".router", ".head")):
            continue
        if isinstance(module, nn.Linear):
            found = names.get(f"{path}.weight", [])
            low = {layer: _low_rank(module, part, rank, scale, generator) for layer, part in found}
            if low:
                _replace(model, path, AdaptedLinear(module, low))
                adapted += len(low)
        for name in ("up_gate", "down"):
            experts = getattr(module, name, None)
            if isinstance(experts, nn.Parameter) and experts.ndim == 3:
                layers = _expert_parts(names[f"{path}.{name}"], experts, rank, scale, generator)
                delattr(module, name)
                setattr(module, name, AdaptedExperts(experts, layers))
                adapted += sum(len(each) for each in layers)
    return adapted


def _layer_names(config: MolmoConfig) -> dict[str, list[tuple[str, ParameterSlice]]]:
    """Return for each weight the layers of the published checkpoint that it holds."""
    found: dict[str, list[tuple[str, ParameterSlice]]] = {}
    scheme = detect_naming_scheme(set(), config.decoder)
    for key, part in parameter_slices(config, scheme).items():
        if key.endswith(".weight"):
            found.setdefault(part.parameter, []).append((key.removesuffix(".weight"), part))
    return found


def _low_rank(
    layer: nn.Linear, part: ParameterSlice, rank: int, scale: float, generator: torch.Generator
) -> LowRank:
    rows = part.select[0] if part.select else None
    assert rows is None or isinstance(rows, slice)
    outputs = len(range(*(rows or slice(None)).indices(layer.out_features)))
    made = LowRank(layer.in_features, outputs, rank, scale, rows, generator)
    return made.to(layer.weight.device)


def _expert_parts(
    found: list[tuple[str, ParameterSlice]],
    weights: nn.Parameter,
    rank: int,
    scale: float,
    generator: torch.Generator,
) -> dict[tuple[str, ...], LowRankExperts]:
    """Return the parts of the weights in the order of their rows, each with its layers' names, expert by expert."""
    layers: dict[int, dict[int, str]] = {}
    for name, part in found:
        expert, *rows = part.select
        assert isinstance(expert, int)
        start = rows[0].start or 0 if rows and isinstance(rows[0], slice) else 0
        layers.setdefault(start, {})[expert] = name
    count, height, width = weights.shape
    out = {}
    for start in sorted(layers):
        names = tuple(layers[start][expert] for expert in range(count))
        made = LowRankExperts(count, width, height // len(layers), rank, scale, generator)
        out[names] = made.to(weights.device)
    return out


def adapter_tensors(model: Molmo) -> dict[str, tuple[Tensor, Tensor]]:
    """Return {layer of the published checkpoint: (down [r, inputs], up [outputs, r])} of an adapted network."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        if isinstance(module, AdaptedLinear):
            for name, part in zip(module.names, module.parts, strict=True):
                found[name] = (part.down, part.up)  # type: ignore[assignment]
        elif isinstance(module, AdaptedExperts):
            for names, part in zip(module.names, module.parts, strict=True):
                for expert, name in enumerate(names):
                    found[name] = (part.down[expert], part.up[expert])  # type: ignore[index]
    return found


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
