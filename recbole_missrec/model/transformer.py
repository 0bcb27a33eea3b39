"""The two stacks, post-norm, over rows laid out in one matrix (``layout.py``).

The layers are those of ``torch.nn``, with their parameters, names and initial values; here they
run over laid-out rows, and the last decoder layer for the slots that are read alone.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.model.attention import attend, attend_by_few, project
from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.layout import Layout, Queries


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
