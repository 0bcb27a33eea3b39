"""A causal Transformer over item vectors: what the content baselines have in common.

The blocks are those of SASRec (Kang and McAuley, ICDM 2018) as RecBole builds them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder
from torch import Tensor, nn

from recbole_missrec.model.base import OwnRecommender
from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.history import History, HistoryBias, most_taken
from recbole_missrec.model.objectives import chunks

READ_TOGETHER = 256  # histories that go through the Transformer at once


class CausalRecommender(OwnRecommender):
    """Scores items by the Transformer's output at the last position of a history.

    An item's vector is ``content`` of it, which a subclass gives, plus its id embedding; it stands
    for the item in histories and among the candidates. A score is a dot product or, with a
    temperature, the cosine over it. The loss is the cross-entropy over all items.

    Args:
        config: options of SASRec's blocks; ``temperature`` where the model has one.
        dataset: a ``MultiModalSequentialDataset``.
        item_ids: whether items have an id embedding.
    """

    present: Tensor

    def __init__(self, config: Any, dataset: Any, item_ids: bool) -> None:
        super().__init__(config, dataset)
        dim, eps = config["hidden_size"], config["layer_norm_eps"]
        self.dropout = config["hidden_dropout_prob"]
        self.temperature: float | None = config["temperature"]
        self.std = config["initializer_range"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0) if item_ids else None
        self.position_embedding = nn.Embedding(self.max_seq_length, dim)
        self.input_norm = nn.LayerNorm(dim, eps=eps)
        self.encoder = TransformerEncoder(
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            hidden_size=dim,
            inner_size=config["inner_size"],
            hidden_dropout_prob=self.dropout,
            attn_dropout_prob=config["attn_dropout_prob"],
            layer_norm_eps=eps,
        )
        self.history_bias = HistoryBias() if config["history_bias"] else None
        present = torch.stack([dataset.present[m] for m in config["modalities"]])
        self.register_buffer("present", present, persistent=False)  # bool [modalities, items]
        self._table: tuple[Tensor, Tensor] | None = None  # of an evaluation pass, see item_table

    def initialise(self, module: nn.Module) -> None:
        """Normal weights and no biases, as RecBole's SASRec; for ``apply`` of a whole model."""
        if isinstance(module, nn.Linear | nn.Embedding | nn.EmbeddingBag):
            nn.init.normal_(module.weight, std=self.std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            elif module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])

    # --- items ------------------------------------------------------------------------------

    def content(self, items: Any) -> Tensor:
        """What the features of some items add to their vectors, ``[items, dim]``."""
        raise NotImplementedError

    def item_vectors(self, items: Any = slice(None)) -> Tensor:
        """Vectors of some items, a slice or long ``[items]``; of all by default."""
        vectors = self.content(items)
        if self.item_embedding is not None:
            vectors = vectors + self.item_embedding.weight[items]
        return vectors

    def candidates(self, vectors: Tensor) -> Tensor:
        """Item vectors as a dot product compares them: of length 1 where scores are cosines."""
        return vectors if self.temperature is None else F.normalize(vectors, dim=-1)

    def item_table(self) -> tuple[Tensor, Tensor]:
        """Vectors of all items, and these as candidates, kept for an evaluation pass."""
        if self._table is None:
            vectors = torch.cat([self.item_vectors(items) for items in chunks(0, self.n_items)])
            self._table = vectors, self.candidates(vectors)
        return self._table

    def train(self, mode: bool = True) -> "CausalRecommender":
        """Switch mode; a new pass begins, so that an evaluation computes the items anew."""
        self._table = None
        return super().train(mode)

    # --- sequences --------------------------------------------------------------------------

    def sequence_embedding(self, interaction: Interaction, vectors: Tensor) -> Tensor:
        """Output at the last position of each history.

        Histories of like length are read together: most are far shorter than a batch's longest.

        Args:
            interaction: histories, right-padded.
            vectors: of all items, ``[items, dim]``.

        Returns:
            ``[batch, dim]``.
        """
        sequences, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        order = lengths.argsort(stable=True)
        outputs = [
            self.last_outputs(sequences[rows, : lengths[rows[-1]]], lengths[rows], vectors)
            for rows in order.split(READ_TOGETHER)
        ]
        return torch.cat(outputs)[order.argsort()]

    def last_outputs(self, sequences: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
        """The same, ``[rows, dim]``, of sequences long ``[rows, length]``, all read at once."""
        position = self.position_embedding.weight[: sequences.shape[1]]  # [length, dim]
        hidden = self.input_norm(F.embedding(sequences, vectors) + position)
        hidden = dropout(hidden, self.dropout, self.training)  # [rows, length, dim]
        mask = self.get_attention_mask(sequences)
        hidden = self.encoder(hidden, mask, output_all_encoded_layers=False)[-1]
        return self.gather_indexes(hidden, lengths - 1)

    def scores(self, interaction: Interaction, vectors: Tensor, candidates: Tensor) -> Tensor:
        """Scores of all items, those of items of the history shifted.

        Args:
            interaction: histories, right-padded.
            vectors: of all items, ``[items, dim]``.
            candidates: all items, see ``candidates``.

        Returns:
            ``[batch, items]``.
        """
        u = self.sequence_embedding(interaction, vectors)
        scores = self.similarities(u, candidates)
        if self.history_bias is None:
            return scores
        history = History(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        everything = slice(0, self.n_items)
        return self.history_bias(scores, history, everything, self.temperature or 1.0)

    def similarities(self, u: Tensor, candidates: Tensor) -> Tensor:
        """Dot products, or cosines over the temperature.

        Args:
            u: sequence embeddings, ``[batch, dim]``.
            candidates: all items, see ``candidates``.

        Returns:
            ``[batch, items]``; an item with neither features nor id embedding has the lowest.
        """
        return self.masked(self.queries(u) @ candidates.T)

    def queries(self, u: Tensor) -> Tensor:
        """Sequence embeddings as a dot product with ``candidates`` takes them, ``[batch, dim]``."""
        return u if self.temperature is None else F.normalize(u, dim=-1) / self.temperature

    def masked(self, scores: Tensor, items: Any = slice(None)) -> Tensor:
        """Scores with the lowest for items that have neither features nor id embedding.

        Args:
            scores: ``[batch, items]``.
            items: which items these are, a slice or long ``[items]``; all by default.
        """
        if self.temperature is None or self.item_embedding is not None:
            return scores
        lowest = self.lowest_cosine() / self.temperature
        return scores.masked_fill(~self.present[:, items].any(0), lowest)

    def lowest_cosine(self) -> float | Tensor:
        """As MISSRec's: in place of the cosine of an item of which nothing is known."""
        return -1.0 if self.training else most_taken(self.history_bias) - 1.0

    def embed(self, interaction: Interaction) -> Tensor:
        """Sequence embeddings of a batch as ``queries``, ``[batch, dim]``; in evaluation mode."""
        return self.queries(self.sequence_embedding(interaction, self.item_table()[0]))

    # --- RecBole ----------------------------------------------------------------------------

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Cross-entropy over all items, whose vectors are computed once a step."""
        vectors = self.item_vectors()
        scores = self.scores(interaction, vectors, self.candidates(vectors))
        scores = scores[:, 1:]  # without the padding item
        return F.cross_entropy(scores, interaction[self.POS_ITEM_ID] - 1)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, -inf for the padding item, ``[batch, items]``."""
        vectors, candidates = self.item_table()
        scores = self.scores(interaction, vectors, candidates)
        scores[:, 0] = -torch.inf
        return scores
