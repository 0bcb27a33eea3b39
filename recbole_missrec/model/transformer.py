"""The two stacks, post-norm, over rows laid out in one matrix (``layout.py``).

The layers are those of ``torch.nn``, with their parameters, names and initial values; here they
run over laid-out rows, and the last decoder layer for the slots that are read alone.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.layout import Group, Layout, Queries


def attend(
    attention: Any,
    queries: Tensor,
    keys_values: Tensor,
    memory: Layout,
    widths: tuple[int, ...],
) -> Tensor:
    """Multi-head attention of projected queries over projected keys and values.

    Args:
        attention: as of ``project``, for its heads, dropout and output projection.
        queries: in the order of the memory's rows, ``widths[g]`` of each row of group g,
            ``[queries, dim]``.
        keys_values: keys beside values, ``[slots, 2 * dim]``.
        memory: layout of keys and values.
        widths: queries of a row, for each group.

    Returns:
        ``[queries, dim]``.
    """
    heads, p = attention.num_heads, attention.dropout if attention.training else 0.0
    contexts = []
    for group, asked, read, pad in _by_group(memory, widths, queries, keys_values):
        q = asked.view(group.rows, -1, heads, attention.head_dim).transpose(1, 2)
        kv = read.view(group.rows, group.width, 2, heads, attention.head_dim)
        k, v = kv.permute(2, 0, 3, 1, 4)  # [rows, heads, width, head dim] each
        keep = None if group.full else ~pad.view(group.rows, 1, 1, group.width)
        context = F.scaled_dot_product_attention(q, k, v, keep, dropout_p=p)
        contexts.append(context.transpose(1, 2).reshape(len(asked), -1))
    return project_out(attention, torch.cat(contexts))


def attend_by_few(
    attention: Any, queries: Tensor, x: Tensor, memory: Layout, widths: tuple[int, ...]
) -> Tensor:
    """``attend`` for queries that are fewer than the slots, whose keys and values are not made.

    A score q . (W x) is (W^T q) . x, and a weighted sum of W x is W times the weighted sum of x:
    the projections are applied to queries and sums, of which each head has its own. The keys'
    bias adds the same to all scores of a query, so softmax does not see it. Takes ``2 * dim^2``
    multiplications a query where keys and values take as many a slot; memory for the weights is
    ``[queries, heads, width]``.

    Args:
        attention: as of ``attend``.
        queries: projected, ``[queries, dim]``.
        x: what keys and values would be projected from, ``[slots, dim]``.
        memory: layout of the slots.
        widths: queries of a row, for each group.

    Returns:
        ``[queries, dim]``.
    """
    heads, width = attention.num_heads, attention.head_dim
    weight, bias = _weight_and_bias(attention)
    _, keys, values = weight.view(3, heads, width, -1)  # [heads, head dim, dim] each
    by_head = queries.view(-1, heads, width).transpose(0, 1)  # [heads, queries, head dim]
    asked = torch.bmm(by_head * width**-0.5, keys).transpose(0, 1)  # [queries, heads, dim]
    sums, totals = [], []
    for group, own, read, pad in _by_group(memory, widths, asked, x):
        read = read.view(group.rows, group.width, -1)
        scores = own.reshape(group.rows, -1, x.shape[1]) @ read.transpose(1, 2)
        if group.full:
            weights = scores.softmax(2)  # [rows, queries of a row * heads, width]
        else:  # a row without any token gives zeros, as scaled_dot_product_attention does
            pad = pad.view(group.rows, 1, group.width)
            lowest = torch.finfo(scores.dtype).min
            weights = scores.masked_fill(pad, lowest).softmax(2).masked_fill(pad, 0.0)
        weights = dropout(weights, attention.dropout, attention.training)
        sums.append((weights @ read).view(-1, heads, x.shape[1]))
        totals.append(weights.sum(2).view(-1, heads))
    contexts = torch.bmm(torch.cat(sums).transpose(0, 1), values.transpose(1, 2)).transpose(0, 1)
    biases = bias[2 * heads * width :].view(heads, width)
    contexts = contexts + torch.cat(totals).unsqueeze(2) * biases  # [queries, heads, head dim]
    return project_out(attention, contexts.reshape(len(queries), -1))


def _by_group(
    memory: Layout, widths: tuple[int, ...], queries: Tensor, x: Tensor
) -> Iterator[tuple[Group, Tensor, Tensor, Tensor]]:
    """Each group of a memory, with its queries, its slots, and which of these are padding."""
    sizes = [group.rows * width for group, width in zip(memory.groups, widths, strict=True)]
    parts = queries.split(sizes), x.split(memory.sizes), memory.pad.split(memory.sizes)
    return zip(memory.groups, *parts, strict=True)


def project(attention: Any, x: Tensor, first: int, last: int) -> Tensor:
    """Parts ``first`` to ``last - 1`` of queries 0, keys 1, values 2.

    Args:
        attention: a ``torch.nn.MultiheadAttention``, or the one of peft in its place.
        x: ``[n, dim]``.
        first: part.
        last: part that is left out.

    Returns:
        ``[n, parts * dim]``.
    """
    part = slice(first * attention.embed_dim, last * attention.embed_dim)
    own = _without_lora(attention)
    projected = F.linear(x, own.in_proj_weight[part], own.in_proj_bias[part])
    if own is not attention:
        for name in attention.active_adapters:
            rows = attention.lora_B[name].weight[part] * attention.scaling[name]
            projected = projected + F.linear(attention.lora_A[name](x), rows)
    return projected


def _weight_and_bias(attention: Any) -> tuple[Tensor, Tensor]:
    """Of the three projections in one, ``[3 * dim, dim]`` and ``[3 * dim]``, LoRA added."""
    own = _without_lora(attention)
    weight = own.in_proj_weight
    if own is not attention:
        for name in attention.active_adapters:
            lora_a, lora_b = attention.lora_A[name].weight, attention.lora_B[name].weight
            weight = weight + attention.scaling[name] * lora_b @ lora_a
    return weight, own.in_proj_bias


def project_out(attention: Any, contexts: Tensor) -> Tensor:
    """The output projection, ``[n, dim]``; within peft's attention it is a layer of peft, too."""
    return _without_lora(attention).out_proj(contexts)


def _without_lora(attention: Any) -> Any:
    """The attention that peft's layer keeps, where it is one."""
    return getattr(attention, "base_layer", attention)


def feed_forward(layer: Any, x: Tensor) -> Tensor:
    """The two linear layers of an encoder or decoder layer, with the dropout between them."""
    inner = F.gelu(layer.linear1(x))
    return layer.linear2(dropout(inner, layer.dropout.p, layer.training))


def add_norm(x: Tensor, change: Tensor, drop: nn.Dropout, norm: nn.Module) -> Tensor:
    """A residual step: ``norm(x + dropout(change))``."""
    return norm(x + dropout(change, drop.p, drop.training))


class EncoderLayer(nn.TransformerEncoderLayer):
    """An encoder layer over laid-out rows."""

    def forward(self, x: Tensor, qkv: Tensor, layout: Layout) -> Tensor:  # type: ignore[override]
        """Run the layer.

        Args:
            x: ``[slots, dim]``.
            qkv: its queries, keys and values, ``[slots, 3 * dim]``.
            layout: of the slots.

        Returns:
            ``[slots, dim]``.
        """
        dim = x.shape[1]
        widths = tuple(group.width for group in layout.groups)
        queries, keys_values = qkv.split([dim, 2 * dim], 1)
        attended = attend(self.self_attn, queries, keys_values, layout, widths)
        x = add_norm(x, attended, self.dropout1, self.norm1)
        return add_norm(x, feed_forward(self, x), self.dropout2, self.norm2)


class Encoder(nn.Module):
    """Self-attention over the tokens of each row, without positions, and a closing LayerNorm.

    Args:
        layers: number of layers.
        dim: size of a token.
        heads: attention heads.
        inner: size of the feed-forward layer.
        dropout: probability.
        eps: of the LayerNorms.
    """

    def __init__(
        self, layers: int, dim: int, heads: int, inner: int, dropout: float, eps: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(dim, heads, inner, dropout, "gelu", layer_norm_eps=eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, tokens: Tensor, layout: Layout, which: Tensor | None = None) -> Tensor:
        """Run the stack.

        Args:
            tokens: ``[slots, dim]``; or the distinct ones, ``[tokens, dim]``, which are then
                projected once each.
            layout: of the slots.
            which: token of each slot where they are given once each, long ``[slots]``.

        Returns:
            ``[slots, dim]``.
        """
        layers: list[Any] = list(self.layers)
        first, *others = layers
        qkv = project(first.self_attn, tokens, 0, 3)
        if which is not None:
            tokens, qkv = F.embedding(which, tokens), F.embedding(which, qkv)
        x = first(tokens, qkv, layout)
        for layer in others:
            x = layer(x, project(layer.self_attn, x, 0, 3), layout)
        return self.norm(x)


class DecoderLayer(nn.TransformerDecoderLayer):
    """A decoder layer over laid-out rows that can be asked for the outputs of some slots alone."""

    def forward(  # type: ignore[override]
        self,
        tokens: Tensor,
        layout: Layout,
        memory: Tensor,
        memory_layout: Layout,
        queries: Queries,
    ) -> Tensor:
        """Run the layer for some of its tokens.

        Args:
            tokens: keys and values of self-attention, ``[slots, dim]``.
            layout: of the tokens.
            memory: keys and values of cross-attention, ``[memory slots, dim]``.
            memory_layout: of the memory.
            queries: the tokens whose outputs are asked for.

        Returns:
            ``[queries, dim]``.
        """
        own, other = self.self_attn, self.multihead_attn
        asking = tokens.index_select(0, queries.slots)  # [queries, dim]
        asked = _ask(own, project(own, asking, 0, 1), tokens, layout, queries.widths)
        x = add_norm(asking, asked, self.dropout1, self.norm1)
        crossed = project(other, x, 0, 1).index_select(0, queries.there)
        asked = _ask(other, crossed, memory, memory_layout, queries.memory_widths)
        x = add_norm(x, asked.index_select(0, queries.back), self.dropout2, self.norm2)
        return add_norm(x, feed_forward(self, x), self.dropout3, self.norm3)


def _ask(
    attention: Any, queries: Tensor, x: Tensor, memory: Layout, widths: tuple[int, ...]
) -> Tensor:
    """Attention of projected queries over slots, in the way that takes fewer multiplications."""
    if len(queries) < len(x):
        return attend_by_few(attention, queries, x, memory, widths)
    return attend(attention, queries, project(attention, x, 1, 3), memory, widths)


class Decoder(nn.Module):
    """Parallel (not causal) self-attention over tokens, cross-attention to a memory.

    The last layer computes only the outputs that are read.

    Args:
        layers: number of layers.
        dim: size of a token.
        heads: attention heads.
        inner: size of the feed-forward layer.
        dropout: probability.
        eps: of the LayerNorms.
    """

    def __init__(
        self, layers: int, dim: int, heads: int, inner: int, dropout: float, eps: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(dim, heads, inner, dropout, "gelu", layer_norm_eps=eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        tokens: Tensor,
        layout: Layout,
        memory: Tensor,
        memory_layout: Layout,
        everyone: Queries | None,
        read: Queries,
    ) -> Tensor:
        """Run the stack.

        Args:
            tokens: ``[slots, dim]``.
            layout: of the tokens.
            memory: ``[memory slots, dim]``.
            memory_layout: of the memory.
            everyone: all tokens as queries; needed by several layers only.
            read: the tokens whose outputs are wanted.

        Returns:
            ``[queries, dim]``.
        """
        *before, last = list(self.layers)
        for layer in before:
            tokens = layer(tokens, layout, memory, memory_layout, everyone)
        return self.norm(last(tokens, layout, memory, memory_layout, read))
