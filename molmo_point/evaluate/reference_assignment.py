"""The smallest-total-cost assignment that the pointing metric needs: SciPy's where it is installed, else our own."""

from __future__ import annotations

import math
from collections.abc import Sequence

Costs = Sequence[Sequence[float]]
"""N rows of M finite costs each."""


def assign(costs: Costs) -> list[tuple[int, int]]:
    """Return min(N, M) pairs (row, column), sorted by row, no row or column twice, of the smallest total cost."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        return assign_without_scipy(costs)
    rows, columns = linear_sum_assignment(costs)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def assign_without_scipy(costs: Costs) -> list[tuple[int, int]]:
    """Do what `assign` does by shortest augmenting paths (Jonker and Volgenant 1987): O(N^2 M) steps."""
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        turned = assign_without_scipy(list(zip(*costs, strict=True)))
        return sorted((row, column) for column, row in turned)
    size = len(costs[0])
    row_price, column_price = [0.0] * len(costs), [0.0] * size
    row_of: list[int | None] = [None] * size
    for row in range(len(costs)):
        _augment(costs, row, row_of, row_price, column_price)
    return sorted((row, column) for column, row in enumerate(row_of) if row is not None)


def _augment(
    costs: Costs,
    start: int,
    row_of: list[int | None],
    row_price: list[float],
    column_price: list[float],
) -> None:
    """Give `start` a column along the cheapest alternating path; update the assignment and the prices in place."""
    size = len(row_of)
    distance, previous, done = [math.inf] * size, [start] * size, [False] * size
    row, reached = start, 0.0
    via: dict[int, float] = {start: 0.0}
    while True:
        for column in range(size):
            if not done[column]:
                length = reached + costs[row][column] - row_price[row] - column_price[column]
                if length < distance[column]:
                    distance[column], previous[column] = length, row
        nearest = min((c for c in range(size) if not done[c]), key=distance.__getitem__)
        reached, done[nearest] = distance[nearest], True
        owner = row_of[nearest]
        if owner is None:
            break
        row = owner
        via[owner] = reached
    for owner_row, length in via.items():
        row_price[owner_row] += reached - length
    for column in range(size):
        if done[column]:
            column_price[column] -= reached - distance[column]
    column = nearest
    while True:
        row = previous[column]
        given_up = next((c for c in range(size) if row_of[c] == row), None)
        row_of[column] = row
        if given_up is None:
            return
        column = given_up
