"""Multi-head attention over rows laid out in one matrix (``layout.py``)."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.layout import Group, Layout


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
