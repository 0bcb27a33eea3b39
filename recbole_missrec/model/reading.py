"""How a history is read, one function a structure: who encodes, who asks, what is u.

Each takes the model's two stacks, the history tokens ``[slots, dim]``, the centroids of the
batch's distinct interests ``[distinct, dim]`` and the packed batch. It gives the sequence
embeddings before normalisation, ``[rows, dim]``, and the interest representations
``[interest slots, dim]`` in the order of ``packed.interests``, None where there are none.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.model.layout import Layout
from recbole_missrec.model.packing import Packed

Reading = tuple[Tensor, Tensor | None]


def item_queries(
    encoder: nn.Module, decoder: nn.Module, history: Tensor, centroids: Tensor, packed: Packed
) -> Reading:
    """The encoder reads interests, the decoder asks them from items; u at the last item."""
    interests = encoder(centroids, packed.interests, packed.interest)
    outputs = decoder(
        history, packed.history, interests, packed.interests, packed.everyone, packed.read
    )
    return last_mean(outputs, packed), interests


def interest_queries(
    encoder: nn.Module, decoder: nn.Module, history: Tensor, centroids: Tensor, packed: Packed
) -> Reading:
    """The encoder reads items, the decoder asks them from interests; u the mean of these."""
    items = encoder(history, packed.history)
    tokens = F.embedding(packed.interest, centroids)  # [interest slots, dim]
    interests = decoder(
        tokens, packed.interests, items, packed.history, packed.everyone, packed.read
    )
    layout = packed.interests
    return row_mean(interests, layout.row, layout.pad, len(layout.order)), interests


def no_decoder(
    encoder: nn.Module, decoder: None, history: Tensor, centroids: Tensor, packed: Packed
) -> Reading:
    """One encoder reads items and interests together; u at the last item."""
    assert packed.both is not None
    layout, there, back = packed.both
    tokens = torch.cat([history, F.embedding(packed.interest, centroids)])
    encoded = encoder(tokens.index_select(0, there), layout).index_select(0, back)
    items, interests = encoded.split([len(history), len(packed.interest)])
    return last_mean(items.index_select(0, packed.last), packed), interests


def no_interests(
    encoder: nn.Module, decoder: None, history: Tensor, centroids: Tensor, packed: Packed
) -> Reading:
    """One encoder reads items; u at the last one."""
    items = encoder(history, packed.history)
    return last_mean(items.index_select(0, packed.last), packed), None


READINGS: dict[str, Callable[..., Reading]] = {
    "item_queries": item_queries,
    "interest_queries": interest_queries,
    "no_decoder": no_decoder,
    "no_interests": no_interests,
}


def last_mean(outputs: Tensor, packed: Packed) -> Tensor:
    """Mean over the present modalities of each row's last item, ``[rows * times, dim]``."""
    rows = len(packed.restore)
    if len(outputs) == rows:
        return outputs
    row = packed.history.row[packed.last]
    return row_mean(outputs, row, packed.history.pad[packed.last], rows)


def row_mean(x: Tensor, row: Tensor, pad: Tensor, rows: int) -> Tensor:
    """Mean of each row's slots that are not padding, ``[slots, dim] -> [rows, dim]``."""
    real = (~pad).to(x.dtype)
    sums = x.new_zeros(rows, x.shape[1]).index_add(0, row, torch.where(pad[:, None], 0, x))
    return sums / real.new_zeros(rows).index_add(0, row, real)[:, None]


def by_row(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, layout: Layout
) -> tuple[Tensor, Tensor]:
    """Apply a function of padded rows to laid-out ones.

    Args:
        function: of ``[rows, width, dim]`` and bool ``[rows, width]``, False for padding, giving
            one number a row.
        x: ``[slots, dim]``.
        layout: of the slots.

    Returns:
        The numbers and the widths without padding, both ``[rows]``.
    """
    values = [
        function(part.view(group.rows, group.width, -1), ~pad.view(group.rows, group.width))
        for group, part, pad in zip(
            layout.groups, x.split(layout.sizes), layout.pad.split(layout.sizes), strict=True
        )
    ]
    counts = torch.zeros_like(layout.order).index_add(0, layout.row, (~layout.pad).long())
    return torch.cat(values), counts
