"""Where a model looks: attention weights of the layer that the sequence embedding comes from.

The model's fused kernels keep no weights. Here the layer attends once more, step by step, to what
it was given while the model read a history.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_missrec.model.attention import project, project_out
from recbole_missrec.model.layout import Layout, Queries
from recbole_missrec.model.missrec import MISSRec


class Attention(NamedTuple):
    """Shares of attention that a history's items and interests get, of each head.

    Attributes:
        items: of each item of the history, in its order, ``[heads, length]``.
        interests: which interests the history has, long ``[interests]``; -1 alone for none.
        shares: of each of these, ``[heads, interests]``.
    """

    items: Tensor
    interests: Tensor
    shares: Tensor


@torch.no_grad()
def attention(model: MISSRec, history: Interaction) -> Attention:
    """Attention of the last layer, as a mean over the queries that the sequence embedding is of.

    With item queries (the default) these are the last item's tokens: they share themselves out
    among the items in self-attention, and among the interests in cross-attention. With interest
    queries it is the other way round, and every interest asks. Both parts add up to 1 each;
    together where one encoder reads items and interests (``no_decoder``). Several tokens of an item
    (``contextual``) are added up.

    Time and memory grow as the items and interests of the history, times the queries.

    Args:
        model: in evaluation mode, of a structure with interests.
        history: one row.

    Returns:
        The shares, on the CPU.
    """
    packed = model.packer()(None, history).to(history[model.ITEM_SEQ].device).packed
    inputs = model.history_inputs(model.item_table(packed.items))
    layers: Any = (model.encoder if model.decoder is None else model.decoder).layers
    with arguments(layers[-1]) as given:
        model.sequence_embedding(packed, F.embedding(packed.item, inputs))
    pad = packed.history.pad  # [slots], which of a single row are in the order of the history
    if model.decoder is None:
        assert packed.both is not None
        layout, _, there = packed.both
        asking = there[packed.last[~pad[packed.last]]]
        weights = encoder_weights(layers[-1], *given)[:, asking].mean(1)[:, there]
        items, shares = weights.split([len(pad), len(packed.interest)], 1)
    else:
        _, layout, _, _, queries = given
        real = ~layout.pad[queries.slots]  # [queries]
        own, other = (part[:, real].mean(1) for part in decoder_weights(layers[-1], *given))
        items, shares = (other, own) if model.reading == "interest_queries" else (own, other)
    times = model.slots.shape[1]
    items = items.masked_fill(pad, 0).unflatten(1, (-1, times)).sum(2)  # [heads, length]
    interests = packed.distinct[packed.interest]
    interests = interests.masked_fill(interests == len(model.centroids) - 1, -1)
    return Attention(items.cpu(), interests.cpu(), shares.cpu())


@contextmanager
def arguments(layer: nn.Module) -> Iterator[list[Any]]:
    """What this thread calls a layer with: a list that is empty until the call."""
    given: list[Any] = []
    asking = get_ident()  # a service reads histories in several threads

    def keep(layer: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() == asking:
            given.extend(args)

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield given
    finally:
        handle.remove()


def decoder_weights(
    layer: Any,
    tokens: Tensor,
    layout: Layout,
    memory: Tensor,
    memory_layout: Layout,
    queries: Queries,
) -> tuple[Tensor, Tensor]:
    """Attention weights of a decoder layer over a single row.

    Args:
        layer: a ``DecoderLayer``; these and the others are the arguments of its ``forward``.
        tokens: keys and values of self-attention, ``[slots, dim]``.
        layout: of the tokens.
        memory: keys and values of cross-attention, ``[memory slots, dim]``.
        memory_layout: of the memory.
        queries: the tokens that ask.

    Returns:
        Of self-attention ``[heads, queries, slots]`` and of cross-attention
        ``[heads, queries, memory slots]``.
    """
    asking = tokens[queries.slots]  # [queries, dim]
    attended, own = attend(layer.self_attn, asking, tokens, layout)
    x = layer.norm1(asking + attended)
    return own, attend(layer.multihead_attn, x, memory, memory_layout)[1]


def encoder_weights(layer: Any, x: Tensor, qkv: Tensor, layout: Layout) -> Tensor:
    """Attention weights of an encoder layer over a single row.

    Args:
        layer: an ``EncoderLayer``; these and the others are the arguments of its ``forward``.
        x: ``[slots, dim]``.
        qkv: its projections.
        layout: of the slots.

    Returns:
        ``[heads, slots, slots]``.
    """
    return attend(layer.self_attn, x, x, layout)[1]


def attend(
    attention: Any, queries: Tensor, memory: Tensor, layout: Layout
) -> tuple[Tensor, Tensor]:
    """Multi-head attention that gives its weights, without dropout.

    Args:
        attention: as of ``project``.
        queries: ``[queries, dim]``.
        memory: keys and values, ``[slots, dim]``.
        layout: of the memory, a single row.

    Returns:
        What is attended, ``[queries, dim]``, and the weights, ``[heads, queries, slots]``.
    """
    heads = attention.num_heads
    q = project(attention, queries, 0, 1).unflatten(1, (heads, -1)).transpose(0, 1)
    k, v = project(attention, memory, 1, 3).unflatten(1, (2, heads, -1)).permute(1, 2, 0, 3)
    logits = q @ k.transpose(1, 2) / q.shape[2] ** 0.5  # [heads, queries, slots]
    weights = logits.masked_fill(layout.pad, -torch.inf).softmax(2)
    contexts = (weights @ v).transpose(0, 1).flatten(1)  # [queries, dim]
    return project_out(attention, contexts), weights
