"""Published tensor names to the network's parameters and back, as transformers' weight conversions.

The table of names is `molmo_point.model.checkpoint_names`; here its rows become patterns with the layer's number left open. A
conversion that a loaded checkpoint did not use is not used to save it, so that one list serves dense and mixture checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    ConversionOps,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
)

from molmo_point.checkpoints.catalog import CATALOG
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.checkpoint_names import (
    NamingScheme,
    ParameterSlice,
    parameter_slices,
)

PREFIX = "network."
"""Of the network's parameters in `MolmoForConditionalGeneration`."""

Conversion: TypeAlias = Any
"""A `WeightRenaming` or a `WeightConverter`."""


class JoinRows(ConversionOps):  # type: ignore[misc]
    """Concatenate the rows of tensors; the inverse, `SplitRows`, cuts the last rows off: those of the tokens for images."""

    def convert(
        self,
        input_dict: dict[str, list[Tensor]],
        source_patterns: list[str],
        target_patterns: list[str],
        **_: Any,
    ) -> dict[str, Tensor]:
        parts = [input_dict[pattern][0] for pattern in source_patterns]
        return {target_patterns[0]: torch.cat(parts)}

    @property
    def reverse_op(self) -> ConversionOps:
        return SplitRows()


class SplitRows(ConversionOps):  # type: ignore[misc]
    """Split the embedding table into the vocabulary's rows and the others, as the published files have it."""

    def convert(
        self,
        input_dict: dict[str, list[Tensor]],
        source_patterns: list[str],
        target_patterns: list[str],
        *,
        config: Any,
        **_: Any,
    ) -> dict[str, Tensor]:
        table = input_dict[source_patterns[0]][0]
        rows = config.sizes().decoder.embedding_size
        return dict(zip(target_patterns, (table[:rows], table[rows:]), strict=True))

    @property
    def reverse_op(self) -> ConversionOps:
        return JoinRows()


def register_conversions(model_class: str) -> None:
    """Register the conversions of all four models for a class of transformers models."""
    found: dict[tuple[str, ...], Conversion] = {}
    for entry in CATALOG:
        if entry.config is not None and entry.config.generation == 1:
            for conversion in conversions(entry.config):
                found.setdefault(tuple(conversion.source_patterns), conversion)
    ordered = sorted(found.values(), key=_order)
    register_checkpoint_conversion_mapping(model_class, ordered, overwrite=True)


def conversions(config: MolmoConfig) -> list[Conversion]:
    """Return the conversions for the published names of one family."""
    rows: dict[str, dict[str, ParameterSlice]] = {}
    scheme = NamingScheme.MIXTURE if config.decoder.experts else NamingScheme.DENSE
    for name, part in parameter_slices(config, scheme).items():
        rows.setdefault(_open(PREFIX + part.parameter), {}).setdefault(_open(name), part)
    made: list[Conversion] = []
    for target, sources in rows.items():
        names = sorted(sources, key=lambda name: _start(sources[name]))
        made += _conversions(target, names)
    return sorted(made, key=_order)


def _order(conversion: Conversion) -> tuple[bool, bool]:
    """Whole names first, then the parts before a layer's number, then what joins tensors."""
    return isinstance(conversion, WeightConverter), "(?=" in conversion.source_patterns[0]


def _open(name: str) -> str:
    """Return a name as a pattern: the number of its layer is captured, that of its expert is any."""
    escaped = name.replace(".", r"\.")
    escaped = re.sub(r"(?<=blocks\\\.)\d+(?=\\\.)", r"(\\d+)", escaped)
    return re.sub(r"(?<=experts\\\.)\d+\\\.", "*.", escaped)


def _start(part: ParameterSlice) -> int:
    """Return the first row of a part in its parameter (for an expert, in the expert)."""
    rows = [index.start or 0 for index in part.select if isinstance(index, slice)]
    return rows[0] if rows else 0


def _conversions(target: str, names: list[str]) -> list[Conversion]:
    """Return what turns tensors of these names into one parameter.

    A conversion that joins tensors knows the part of a name behind the layer's number only; a renaming, which looks ahead at that
    part, changes the part before.
    """
    experts = any("*." in name for name in names)
    if len(names) == 1 and not experts:
        return [WeightRenaming(names, [_plain(target)])]
    if experts:
        operations = [MergeModulelist(dim=0), *([Concatenate(dim=1)] if len(names) > 1 else [])]
    elif "embedding" in target:
        operations = [JoinRows()]
    else:
        operations = [Concatenate(dim=0)]
    layer = r"(\d+)\."
    if layer not in target:
        return [
            WeightConverter(
                [_plain(name) for name in names], [_plain(target)], operations=operations
            )
        ]
    heads, tails = zip(*(name.split(layer) for name in names), strict=True)
    ours, tail = target.split(layer)
    ahead = f"(?={tails[0][: _shared(tails)]})"
    return [
        WeightRenaming([heads[0] + layer + ahead], [f"{_plain(ours)}\\1.{ahead}"]),
        # The decoder's q, k and v are one tensor in the files, too.
        WeightConverter(list(tails), [r"(?<!attention\.)" + _plain(tail)], operations=operations),
    ]


def _shared(words: Sequence[str]) -> int:
    """Return how many characters all words begin with in common."""
    pairs = zip(min(words), max(words), strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), len(min(words)))


def _plain(pattern: str) -> str:
    return pattern.replace(r"\.", ".").replace(r"(\d+)", r"\1")
