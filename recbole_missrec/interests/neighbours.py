"""Exact nearest neighbours, block by block: neither a matrix of all pairs nor rounding decides.

A matrix product in float32 gives a lower bound of each squared distance. The points of the lowest
bounds are candidates, whose squared distances are computed by direct differences in float64. Where
a point that is no candidate might still be nearer, more candidates are taken. Results therefore
depend on neither block size nor threads, and are those of the matrix of all pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS, _COLUMNS = 2**11, 2**12  # of a block of bounds: 32 MiB
_ENTRIES = 2**21  # of a block of candidates, neighbours or points
_DIFFERENCES = 2**17  # of a block of direct differences: 1 MiB, within the caches
_SLACK = 8  # further candidates, so that few rows need more
_UNDERFLOW = 1e-30  # more than what products of numbers up to 1 lose below the smallest float32

Hide = Callable[[Tensor, Tensor, int], None]


@dataclass(frozen=True)
class Cloud:
    """Points, and the factors of a lower bound of their distances.

    Attributes:
        points: ``[n, dim]``.
        factors: the points in other units, their mean at the origin, and a last column with the
            squared norm less what rounding may add, float32 ``[n, dim + 1]``.
        unit: length of one of the other units.
    """

    points: Tensor
    factors: Tensor
    unit: float

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, rows: Tensor | slice) -> "Cloud":
        return Cloud(self.points[rows], self.factors[rows], self.unit)


def cloud(points: Tensor) -> Cloud:
    """Prepare points for searches; memory O(n dim).

    A product of d terms in float32 is off by at most d u times the sum of their sizes, with
    u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); centring and
    scaling add 12 u of the squared norms of both points.
    """
    n, dim = points.shape
    factors = torch.empty(n, dim + 1, device=points.device)
    mean, unit = points.mean(0), 0.0
    for part, found in zip(points.split(_ROWS), factors.split(_ROWS), strict=True):
        found[:, :dim] = part - mean
        unit = max(unit, float(found[:, :dim].abs().max()))
    unit = unit or 1.0
    share = 1 - 2 * (dim + 12) * 2**-24
    for found in factors.split(_ROWS):
        found[:, :dim] /= unit
        found[:, dim] = share * found[:, :dim].double().square().sum(1) - _UNDERFLOW
    return Cloud(points, factors, unit)


def distinct(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places of points, in the order of their first ones. Time O(n log n dim), memory O(n dim).

    Args:
        points: ``[n, dim]``.

    Returns:
        First point at each place, ``[places]``; place of each point, ``[n]``; points at each
        place, ``[places]``; all long.
    """
    _, group, times = torch.unique(points, dim=0, return_inverse=True, return_counts=True)
    numbers = torch.arange(len(points), device=points.device)
    first = torch.full_like(times, len(points)).scatter_reduce_(0, group, numbers, "amin")
    first, order = first.sort()
    place = torch.empty_like(order)
    place[order] = numbers[: len(order)]
    return first, place[group], times[order]


def nearest(
    queries: Cloud, points: Cloud, k: int, hide: Hide | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query. Time O(q n dim) in matrix products, memory O(q k).

    Args:
        queries: q points.
        points: n points, prepared together with the queries.
        k: at most as many as a query may have.
        hide: sets bounds to infinity, in place, where a query may not have a point; given bounds
            ``[rows, columns]``, the queries they belong to, and their first point.

    Returns:
        Squared distances, float64, and indices, int32, both ``[q, k]``; the nearest first, then
        the lowest index. Of points 0 away any are found, where they are more than k.
    """
    squared = torch.empty(len(queries), k, dtype=torch.float64, device=points.points.device)
    index = torch.empty(len(queries), k, dtype=torch.int32, device=points.points.device)
    memory = torch.empty(_ROWS * _COLUMNS, device=points.points.device)  # of every block

    waiting = [(torch.arange(len(queries), device=points.points.device), k + _SLACK)]
    while waiting:
        rows, candidates = waiting.pop()
        candidates = min(candidates, len(points))
        of_blocks = min(candidates * -(-len(points) // _COLUMNS), len(points))
        for part in rows.split(min(_ROWS, max(1, _ENTRIES // of_blocks))):
            bounds, near = _lowest_bounds(queries, points, part, candidates, hide, memory)
            exact = squared_distances(queries.points[part], points.points, near)
            exact.masked_fill_(bounds.isinf(), torch.inf)
            exact, order = exact.sort(stable=True)  # [part, candidates]
            squared[part], index[part] = exact[:, :k], near.gather(1, order)[:, :k].int()
            # a bound is below its distance, so that of equally far points none is missed
            unsettled = bounds.amax(1).clamp(min=0) * points.unit**2 < exact[:, k - 1]
            if candidates < len(points) and unsettled.any():
                waiting.append((part[unsettled], 4 * candidates))
    return squared, index


def _lowest_bounds(
    queries: Cloud, points: Cloud, rows: Tensor, count: int, hide: Hide | None, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Bounds in the clouds' units and indices of the lowest, by index, both ``[rows, count]``."""
    factors = queries.factors[rows]  # [rows, dim + 1]
    norms = factors[:, -1:].double()
    factors = torch.cat([-2 * factors[:, :-1], torch.ones_like(factors[:, :1])], 1)
    parts = points.factors.split(_COLUMNS)
    widths = [min(count, len(part)) for part in parts]
    # all at once: kept results of each block would scatter memory
    values = factors.new_empty(len(rows), sum(widths))
    indices = torch.empty_like(values, dtype=torch.long)
    firsts = range(0, len(points), _COLUMNS)
    for first, part, low, at in zip(
        firsts, parts, values.split(widths, 1), indices.split(widths, 1), strict=True
    ):
        bounds = memory[: len(rows) * len(part)].view(len(rows), len(part))
        torch.mm(factors, part.T, out=bounds)
        if hide is not None:
            hide(bounds, rows, first)
        lowest = bounds.topk(low.shape[1], largest=False, sorted=False)
        low.copy_(lowest.values)
        torch.add(lowest.indices, first, out=at)
    if len(parts) > 1:
        values, chosen = values.topk(count, largest=False, sorted=False)
        indices = indices.gather(1, chosen)
    indices, order = indices.sort(1)
    return values.gather(1, order) + norms, indices


def squared_distances(queries: Tensor, points: Tensor, index: Tensor) -> Tensor:
    """Squared distances by direct differences.

    Args:
        queries: ``[q, dim]``.
        points: ``[n, dim]``.
        index: points to each query, ``[q, m]``.

    Returns:
        float64 ``[q, m]``.
    """
    squared = torch.empty(index.shape, dtype=torch.float64, device=points.device)
    width = max(1, _DIFFERENCES // points.shape[1])  # pairs of a block
    rows = max(1, width // index.shape[1])
    for row in range(0, len(index), rows):
        query = queries[row : row + rows, None].double()  # [rows, 1, dim]
        for column in range(0, index.shape[1], width):
            part = slice(row, row + rows), slice(column, column + width)
            differences = points[index[part]].double() - query  # [rows, columns, dim]
            squared[part] = differences.square_().sum(2)
    return squared


def blocks(n: int, columns: int, device: torch.device) -> tuple[Tensor, ...]:
    """Indices in blocks, so that a block's temporary of so many columns stays small."""
    return torch.arange(n, device=device).split(max(1, _ENTRIES // columns))


def hide_at(places: Tensor) -> Hide:
    """Hide from each query the point at a place of its own; ``places``: long ``[q]``."""

    def hide(bounds: Tensor, rows: Tensor, first: int) -> None:
        place = places[rows] - first  # [rows]
        here = ((place >= 0) & (place < bounds.shape[1])).nonzero().squeeze(1)
        bounds[here, place[here]] = torch.inf

    return hide


def neighbours(points: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The k nearest other points of each point, in blocks.

    Args:
        points: ``[n, dim]``, at different places: among many at one, time grows.
        k: 1 to n - 1.

    Yields:
        Indices of some points, ``[rows]``; squared distances of their neighbours, float64, the
        nearest first, and those neighbours, int32, both ``[rows, k]``.
    """
    whole = cloud(points)
    for rows in blocks(len(points), max(points.shape[1], k), points.device):
        yield rows, *nearest(whole[rows], whole, k, hide_at(rows))


def nearest_centre(points: Cloud, centres: Cloud) -> Tensor:
    """Which centre is nearest to each point, the first at ties; ``[n]``."""
    first, _, _ = distinct(centres.points)  # of many at one place any might be found
    return first[nearest(points, centres[first], 1)[1].squeeze(1).long()]
