"""Orthogonality regulariser: keep the interest representations of a sequence apart.

Each form is a sum over sequences divided by a number of the whole batch, so that the sequences
may be encoded in groups: ``*_terms`` gives one number a sequence, ``*_reduce`` the regulariser.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def mean_cosine_terms(interests: Tensor, real: Tensor) -> Tensor:
    """Mean squared cosine between the distinct interests of each sequence.

    ``1 / (n (n - 1)) * sum over a != b of cos^2(xi_a, xi_b)``, 0 where n < 2.

    Args:
        interests: representations xi, ``[batch, width, dim]``.
        real: bool ``[batch, width]``, False for padding.

    Returns:
        ``[batch]``.

    >>> from torch import tensor
    >>> interests = tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]])  # cosines 0, .7, .7
    >>> terms = mean_cosine_terms(interests, tensor([[True, True, True]]))
    >>> round(float(terms), 4)  # 2 (0 + 1/2 + 1/2) / 6
    0.3333
    """
    unit = F.normalize(interests, dim=-1) * real[..., None]  # [batch, width, dim]
    n = real.sum(1)  # [batch]
    gram = unit @ unit.transpose(1, 2)  # [batch, width, width]
    off_diagonal = gram.square().sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).square().sum(1)
    return off_diagonal / (n * (n - 1)).clamp(min=1)


def mean_cosine_reduce(terms: Tensor, counts: Tensor) -> Tensor:
    """Mean over the sequences with at least two interests; 0 if there is none.

    Args:
        terms: of ``mean_cosine_terms``, ``[batch]``.
        counts: distinct interests n of each sequence, ``[batch]``.

    >>> from torch import tensor
    >>> float(mean_cosine_reduce(tensor([0.25, 0.75, 0.0]), tensor([3, 2, 1])))  # of two sequences
    0.5
    """
    return terms.sum() / (counts >= 2).sum().clamp(min=1)


def released_terms(interests: Tensor, real: Tensor) -> Tensor:
    """The released code's form, per sequence: ``|n_b * sum over l of xi_{b,l}|^2 / dim``.

    Its weight ``w_b`` is n_b over the padded width of the batch, which ``released_reduce`` divides
    by; so it changes with batch size and padding. Padded slots count as zero here.

    Args:
        interests: representations xi, ``[batch, width, dim]``.
        real: bool ``[batch, width]``, False for padding.

    Returns:
        ``[batch]``.

    >>> from torch import tensor
    >>> interests = tensor([[[2.0, 0.0], [0.0, 3.0]]])
    >>> float(released_terms(interests, tensor([[True, True]])))  # (16 + 36) / 2
    26.0
    """
    pooled = (interests * real[..., None]).sum(1) * real.sum(1, keepdim=True)  # [batch, dim]
    return pooled.square().sum(1) / interests.shape[-1]


def released_reduce(terms: Tensor, counts: Tensor) -> Tensor:
    """Sum over sequences, over the square of the widest sequence's number of interests.

    >>> from torch import tensor
    >>> float(released_reduce(tensor([26.0, 10.0]), tensor([2, 3])))  # 36 / 9
    4.0
    """
    return terms.sum() / counts.max().square()


Terms = Callable[[Tensor, Tensor], Tensor]
ORTHOGONALITY: dict[str, tuple[Terms, Terms]] = {
    "mean_cosine": (mean_cosine_terms, mean_cosine_reduce),
    "released": (released_terms, released_reduce),
}
