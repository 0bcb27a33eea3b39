"""The two stacks: a contextual encoder and an interest-aware decoder, post-norm."""

from typing import Any

import torch
from torch import Tensor, nn


class Encoder(nn.TransformerEncoder):
    """Self-attention over a set of tokens, post-norm layers and a closing LayerNorm.

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
        layer = nn.TransformerEncoderLayer(
            dim, heads, inner, dropout, "gelu", layer_norm_eps=eps, batch_first=True
        )
        norm = nn.LayerNorm(dim, eps=eps)
        super().__init__(layer, layers, norm, enable_nested_tensor=False)
        for copied in list(self.layers)[1:]:  # the copies start like the first
            nn.init.xavier_uniform_(copied.self_attn.in_proj_weight)


class DecoderLayer(nn.TransformerDecoderLayer):
    """A decoder layer that can be asked for the outputs of some tokens alone."""

    def read(
        self, queries: Tensor, tokens: Tensor, memory: Tensor, pad: Tensor, memory_pad: Tensor
    ) -> Tensor:
        """Outputs of the queries alone.

        Args:
            queries: those of the tokens whose outputs are asked for, ``[batch, queries, dim]``.
            tokens: keys and values of self-attention, ``[batch, length, dim]``.
            memory: keys and values of cross-attention, ``[batch, width, dim]``.
            pad: bool ``[batch, length]``, True for padding.
            memory_pad: bool ``[batch, width]``, True for padding.

        Returns:
            ``[batch, queries, dim]``.
        """
        attended = self.self_attn(
            queries, tokens, tokens, key_padding_mask=pad, need_weights=False
        )[0]
        x = self.norm1(queries + self.dropout1(attended))  # [batch, queries, dim]
        attended = self.multihead_attn(
            x, memory, memory, key_padding_mask=memory_pad, need_weights=False
        )[0]
        x = self.norm2(x + self.dropout2(attended))  # [batch, queries, dim]
        return self.norm3(x + self._ff_block(x))


class Decoder(nn.Module):
    """Parallel (not causal) self-attention over tokens, cross-attention to a memory.

    Only the outputs that are read are computed in the last layer.

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
            DecoderLayer(dim, heads, inner, dropout, "gelu", layer_norm_eps=eps, batch_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        pad: Tensor,
        memory_pad: Tensor,
        read: Tensor | None = None,
    ) -> Tensor:
        """Run the stack.

        Args:
            tokens: ``[batch, length, dim]``.
            memory: ``[batch, width, dim]``.
            pad: bool ``[batch, length]``, True for padding.
            memory_pad: bool ``[batch, width]``, True for padding.
            read: positions whose outputs are wanted, long ``[batch, reads]``; all if None.

        Returns:
            ``[batch, reads or length, dim]``.
        """
        layers: list[Any] = list(self.layers)
        *before, last = layers
        for layer in before:
            tokens = layer.read(tokens, tokens, memory, pad, memory_pad)
        queries = tokens if read is None else take(tokens, read)
        return self.norm(last.read(queries, tokens, memory, pad, memory_pad))


def take(tokens: Tensor, positions: Tensor) -> Tensor:
    """Tokens at some positions: ``[batch, length, dim], [batch, reads] -> [batch, reads, dim]``."""
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))


def masked_mean(tokens: Tensor, pad: Tensor) -> Tensor:
    """Mean of the tokens that are not padding, ``[batch, length, dim] -> [batch, dim]``."""
    kept = torch.where(pad[..., None], 0, tokens)
    return kept.sum(1) / (~pad).sum(1, keepdim=True)
