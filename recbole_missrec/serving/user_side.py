"""The user side of a model with padding, for other runtimes: vectors of a history in, u out.

Histories come as vectors of their items, which an export has beside it, so that items added later
need no new export. Equal to the model's own layout without padding (``tests/serving``).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.errors import UsageError
from recbole_missrec.model.attention import project, project_out
from recbole_missrec.model.causal import CausalRecommender
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.model.transformer import add_norm, feed_forward


class FusedUserSide(nn.Module):
    """Of MISSRec, in evaluation mode.

    Time and memory grow as ``batch * (length * slots)^2``.
    """

    def __init__(self, model: MISSRec) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, slots: Tensor, interests: Tensor, lengths: Tensor) -> Tensor:
        """Sequence embeddings of length 1.

        Args:
            vectors: what the items add to their positions, ``[batch, length, slots * dim]``.
            slots: which of its tokens an item has, bool ``[batch, length, slots]``.
            interests: of the items, int64 ``[batch, length, modalities]``.
            lengths: of the histories, from 1, int64 ``[batch]``; what is beyond is not read.

        Returns:
            ``[batch, dim]``.
        """
        model = self.model
        position = model.position_embedding.weight[: vectors.shape[1]]  # [length, dim]
        tokens = vectors.unflatten(2, (slots.shape[2], position.shape[1])) + position[:, None]
        tokens = model.input_norm(tokens).flatten(1, 2)  # [batch, length * slots, dim]
        inside = torch.arange(vectors.shape[1]) < lengths[:, None]  # [batch, length]
        pad = ~(slots & inside[:, :, None]).flatten(1)  # [batch, length * slots]
        if model.reading == "no_interests":
            return self._last(encode(model.encoder, tokens, pad), slots, lengths)
        centroids, absent = self._distinct(interests, inside)
        if model.reading == "no_decoder":
            together = torch.cat([tokens, centroids], 1), torch.cat([pad, absent], 1)
            read = encode(model.encoder, *together)[:, : tokens.shape[1]]
            return self._last(read, slots, lengths)
        assert model.decoder is not None
        if model.reading == "interest_queries":
            items = encode(model.encoder, tokens, pad)
            read = decode(model.decoder, centroids, absent, items, pad)
            return F.normalize(mean(read, ~absent), dim=-1)
        memory = encode(model.encoder, centroids, absent)
        return self._last(decode(model.decoder, tokens, pad, memory, absent), slots, lengths)

    def _distinct(self, interests: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Centroids ``[batch, length * modalities, dim]``, and which are absent or there before.

        A history without any interest reads one zero vector. Where interests carry the position of
        their last item, that is added; the first for none.
        """
        none = self.model.centroids.shape[0] - 1
        ids = torch.where(inside[:, :, None], interests, none).flatten(1)
        place = torch.arange(ids.shape[1])
        before = place < place[:, None]  # [places, places]
        same = ids[:, :, None] == ids[:, None]  # [batch, places, places]
        repeated = (same & before).any(2)
        absent = (ids == none) | repeated  # [batch, places]
        nothing = (ids == none).all(1)  # [batch]
        centroids = self.model.centroids[ids]
        if self.model.options["interest_recency"]:
            last = (same * (place // interests.shape[2])).amax(2).masked_fill(ids == none, 0)
            centroids = centroids + self.model.position_embedding.weight[last]
        return centroids, absent & ~((place == 0) & nothing[:, None])

    def _last(self, outputs: Tensor, slots: Tensor, lengths: Tensor) -> Tensor:
        """Mean over the tokens of the last item, of length 1."""
        last = torch.arange(slots.shape[1]) == lengths[:, None] - 1  # [batch, length]
        return F.normalize(mean(outputs, (slots & last[:, :, None]).flatten(1)), dim=-1)


class PlainUserSide(nn.Module):
    """Of a causal model, in evaluation mode."""

    def __init__(self, model: CausalRecommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Sequence embeddings, over the temperature where scores are cosines.

        Args:
            vectors: of the items, ``[batch, length, dim]``.
            lengths: of the histories, from 1, int64 ``[batch]``; what is beyond is not read.

        Returns:
            ``[batch, dim]``.
        """
        model = self.model
        hidden = model.input_norm(vectors + model.position_embedding.weight[: vectors.shape[1]])
        inside = torch.arange(vectors.shape[1]) < lengths[:, None]  # [batch, length]
        mask = model.get_attention_mask(inside.long())
        hidden = model.encoder(hidden, mask, output_all_encoded_layers=False)[-1]
        last = torch.arange(vectors.shape[1]) == lengths[:, None] - 1  # [batch, length]
        return model.queries(mean(hidden, last))


def make_user_side(model: Any) -> nn.Module:
    """Padded user side of a model.

    Raises:
        UsageError: the model has none.
    """
    if isinstance(model, MISSRec):
        return FusedUserSide(model)
    if isinstance(model, CausalRecommender):
        return PlainUserSide(model)
    raise UsageError(f"{type(model).__name__} has no user side to export")


def mean(x: Tensor, there: Tensor) -> Tensor:
    """Mean of what is there, ``[batch, n, dim]`` and bool ``[batch, n]`` to ``[batch, dim]``."""
    weight = there.to(x.dtype)[:, :, None]
    return (x * weight).sum(1) / weight.sum(1)


def attend(attention: Any, asking: Tensor, memory: Tensor, pad: Tensor) -> Tensor:
    """Multi-head attention, ``[batch, n, dim]`` to ``[batch, m, dim]``, pad bool ``[batch, m]``."""
    q, k, v = (
        part.unflatten(2, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for part in (
            project(attention, asking, 0, 1),
            project(attention, memory, 1, 2),
            project(attention, memory, 2, 3),
        )
    )
    context = F.scaled_dot_product_attention(q, k, v, ~pad[:, None, None])
    return project_out(attention, context.transpose(1, 2).flatten(2))


def encode(encoder: Any, x: Tensor, pad: Tensor) -> Tensor:
    """The encoder over padded rows, ``[batch, n, dim]``; pad bool ``[batch, n]``."""
    for layer in encoder.layers:
        x = add_norm(x, attend(layer.self_attn, x, x, pad), layer.dropout1, layer.norm1)
        x = add_norm(x, feed_forward(layer, x), layer.dropout2, layer.norm2)
    return encoder.norm(x)


def decode(decoder: Any, x: Tensor, pad: Tensor, memory: Tensor, absent: Tensor) -> Tensor:
    """The decoder over padded rows, ``[batch, n, dim]``, with a memory ``[batch, m, dim]``."""
    for layer in decoder.layers:
        x = add_norm(x, attend(layer.self_attn, x, x, pad), layer.dropout1, layer.norm1)
        crossed = attend(layer.multihead_attn, x, memory, absent)
        x = add_norm(x, crossed, layer.dropout2, layer.norm2)
        x = add_norm(x, feed_forward(layer, x), layer.dropout3, layer.norm3)
    return decoder.norm(x)
