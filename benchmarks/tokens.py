"""Item tokens of any number: generated with structure, or real ones tiled and jittered."""

import torch
from torch import Tensor

from recbole_missrec.interests.neighbours import neighbours

JITTER = 0.5  # of the median distance to the nearest other token


def structured_tokens(n: int, dim: int, seed: int = 0) -> Tensor:
    """Groups within topics, of uneven sizes, in some tens of effective dimensions.

    There are as many topics as the root of n, and n / 30 groups, whose sizes are log-normal. A
    token is its topic, plus 0.7 of a normal draw of its group, plus 0.5 of its own; coordinate j
    of a draw has standard deviation j^-0.5.

    Returns:
        float32 ``[n, dim]``.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = torch.arange(1, dim + 1) ** -0.5

    def draw(rows: int) -> Tensor:
        return torch.randn(rows, dim, generator=generator).mul_(deviation)

    topics, groups = draw(int(n**0.5)), 0.7 * draw(max(1, n // 30))
    groups += topics[torch.randint(len(topics), (len(groups),), generator=generator)]
    sizes = torch.randn(len(groups), generator=generator).exp_()
    chosen = torch.multinomial(sizes, n, replacement=True, generator=generator)
    return draw(n).mul_(0.5).add_(groups[chosen])


def jittered_tokens(tokens: Tensor, n: int, seed: int = 0) -> Tensor:
    """Copies of some tokens, each with normal noise of its own.

    The noise is as long, about, as ``JITTER`` of the median distance between a token and the
    nearest other one.

    Args:
        tokens: ``[m, dim]``.
        n: number of copies; without m of them some tokens, drawn at random, have one more.
        seed: of the noise.

    Returns:
        float32 ``[n, dim]``.
    """
    generator = torch.Generator().manual_seed(seed)
    nearest = torch.cat([squared for _, squared, _ in neighbours(tokens, 1)]).sqrt()  # [m, 1]
    order = torch.randperm(len(tokens), generator=generator)
    copies = tokens[order[torch.arange(n) % len(tokens)]]  # [n, dim]
    length = JITTER * float(nearest.median()) / tokens.shape[1] ** 0.5
    return torch.randn(copies.shape, generator=generator).mul_(length).add_(copies)
