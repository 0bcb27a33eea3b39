"""MISSRec: multi-modal pre-training and transfer learning for interest-aware sequential
recommendation (Wang et al., ACM Multimedia 2023, arXiv 2308.11175)."""

from dataclasses import asdict
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_missrec.interests.discovery import discover, num_interests
from recbole_missrec.losses.orthogonality import ORTHOGONALITY
from recbole_missrec.model.fusion import CandidateFusion
from recbole_missrec.model.packing import distinct_interests, length_groups, unpack
from recbole_missrec.model.transformer import Decoder, Encoder, masked_mean, take


class ItemTable(NamedTuple):
    """All items as the model sees them, computed once a training step or evaluation pass.

    Attributes:
        inputs: what a history item adds to its position, ``[items, slots * dim]``.
        units: normalised tokens of the candidates, ``[modalities, items, dim]``.
        id_units: normalised id embeddings, ``[items, dim]``, None without item ids.
    """

    inputs: Tensor
    units: Tensor
    id_units: Tensor | None


class MISSRec(SequentialRecommender):
    """Interests of a history, an embedding of the sequence, fused scores of the candidates.

    Args:
        config: the options of ``props/model/MISSRec.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.options = config
        self.modalities: list[str] = config["modalities"]
        dim: int = config["hidden_size"]
        for modality in self.modalities:  # frozen features stay out of checkpoints
            self.register_buffer(
                f"features_{modality}", dataset.features[modality], persistent=False
            )
        present = torch.stack([dataset.present[m] for m in self.modalities])  # [M, items]
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("slots", self._slots(present), persistent=False)

        self.adapters = nn.ModuleDict(
            {m: nn.Linear(dataset.features[m].shape[1], dim) for m in self.modalities}
        )
        self.position_embedding = nn.Embedding(self.max_seq_length, dim)
        self.item_embedding = (
            nn.Embedding(self.n_items, dim, padding_idx=0) if config["item_ids"] else None
        )
        self.input_norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        self.input_dropout = nn.Dropout(config["dropout"])
        size = {
            "dim": dim,
            "heads": config["n_heads"],
            "inner": config["inner_size"],
            "dropout": config["dropout"],
            "eps": config["layer_norm_eps"],
        }
        encoder_layers, decoder_layers = config["n_encoder_layers"], config["n_decoder_layers"]
        if config["structure"] == "encoder_decoder":
            self.encoder = Encoder(encoder_layers, **size)
            self.decoder = Decoder(decoder_layers, **size)
        else:
            self.encoder = Encoder(encoder_layers + decoder_layers, **size)
        self.fusion = CandidateFusion(config["item_mm_fusion"], self.n_items)
        self._initialise(config["initializer_range"])

        clusters = num_interests(present, config["interest_ratio"])
        self.register_buffer("interest_ids", torch.full((self.n_items, len(present)), clusters))
        self.register_buffer("centroids", torch.zeros(clusters + 1, dim))  # the last: no interest
        self.health: dict[str, float] = {}  # of the last discovery, see Health
        self.other_parameter_name = ["health"]  # RecBole keeps it in checkpoints
        self._table: ItemTable | None = None

    def _initialise(self, std: float) -> None:
        """Normal weights, as the released code: not the adapters, nor attention's in-projection."""
        adapters = set(self.adapters.modules())
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding) and module not in adapters:
                nn.init.normal_(module.weight, std=std)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)
        if self.item_embedding is not None:
            nn.init.zeros_(self.item_embedding.weight[0])

    def _slots(self, present: Tensor) -> Tensor:
        """Which tokens an item gives a history, bool ``[items, slots]``.

        ``add``: one. ``contextual``: one a present modality; the first without any.
        """
        if self.options["seq_mm_fusion"] == "add":
            return torch.ones(self.n_items, 1, dtype=torch.bool)
        slots = present.T.clone()  # [items, M]
        slots[:, 0] |= ~slots.any(1)
        return slots

    # --- items ------------------------------------------------------------------------------

    def item_tokens(self) -> Tensor:
        """Tokens ``A_m(f_i^m)``, zero where absent, ``[modalities, items, dim]``."""
        return torch.stack(
            [
                self.adapters[m](getattr(self, f"features_{m}")) * present[:, None]
                for m, present in zip(self.modalities, self.present, strict=True)
            ]
        )

    def item_table(self) -> ItemTable:
        """All items for one step, or for a whole pass in evaluation."""
        if self._table is not None:
            return self._table
        tokens = self.item_tokens()  # [M, items, dim]
        if self.options["seq_mm_fusion"] == "add":
            inputs = tokens.sum(0)[:, None]  # [items, 1, dim]
        else:
            inputs = tokens.transpose(0, 1)  # [items, M, dim]
        id_units = None
        if self.item_embedding is not None:
            inputs = inputs + self.item_embedding.weight[:, None]
            id_units = F.normalize(self.item_embedding.weight, dim=-1)
        table = ItemTable(inputs.flatten(1), F.normalize(tokens, dim=-1), id_units)
        if not self.training and not torch.is_grad_enabled():
            self._table = table
        return table

    def train(self, mode: bool = True) -> "MISSRec":
        """Switch mode; a new pass begins, so the items are computed anew."""
        self._table = None
        return super().train(mode)

    # --- interests --------------------------------------------------------------------------

    @torch.no_grad()
    def discover_interests(self, epoch: int) -> None:
        """Cluster the tokens of all items, before a training epoch.

        Args:
            epoch: index of the epoch, part of the seed of k-means.
        """
        if self.options["structure"] == "no_interests":
            return
        interests, health = discover(
            self.item_tokens().transpose(0, 1),
            self.present.T,
            self.options["interest_ratio"],
            self.options["interest_method"],
            self.options["knn_local_ratio"],
            self.options["knn_include_self"],
            self.options["seed"] + epoch,
        )
        none = len(self.centroids) - 1
        self.interest_ids.copy_(interests.ids.masked_fill(interests.ids < 0, none))
        self.centroids[:none] = interests.centroids
        self.health, self._table = asdict(health), None

    def _interest_tokens(self, item_seq: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centroids of the distinct interests, ``[b, width, dim]``; padding; their number ``[b]``.

        A history without any interest reads one zero vector.
        """
        none = len(self.centroids) - 1
        ids = distinct_interests(self.interest_ids[item_seq].flatten(1), none)  # [b, width]
        pad = ids == none
        pad[:, 0] = False
        return self.centroids[ids], pad, (~pad).sum(1)

    # --- sequences --------------------------------------------------------------------------

    def sequence_embedding(
        self, item_seq: Tensor, lengths: Tensor, table: ItemTable
    ) -> tuple[Tensor, Tensor]:
        """Normalised sequence embeddings u and the orthogonality regulariser R.

        Args:
            item_seq: histories, padded with 0 on the right, long ``[batch, length]``.
            lengths: of the histories, at least 1, long ``[batch]``.
            table: all items.

        Returns:
            ``[batch, dim]`` and a scalar.
        """
        lengths, order = lengths.sort()
        item_seq = item_seq[order]
        real = torch.arange(item_seq.shape[1], device=item_seq.device) < lengths[:, None]
        position = real.nonzero()[:, 1]  # [tokens]
        inputs = F.embedding(item_seq[real], table.inputs)  # [tokens, slots * dim]
        tokens = inputs.unflatten(1, (self.slots.shape[1], -1))  # [tokens, slots, dim]
        tokens = tokens + self.position_embedding(position)[:, None]
        tokens = self.input_dropout(self.input_norm(tokens)).flatten(1)

        groups = length_groups(lengths)
        sizes = [int(lengths[rows].sum()) for rows in groups]
        outputs, terms, counts = [], [], []
        for rows, group_tokens in zip(groups, tokens.split(sizes), strict=True):
            longest = int(lengths[rows.stop - 1])
            seq = item_seq[rows, :longest]  # [b, l]
            padded = unpack(group_tokens, real[rows, :longest])  # [b, l, slots * dim]
            output, term, count = self._read_history(padded, seq, lengths[rows])
            outputs.append(output)
            terms.append(term)
            counts.append(count)
        _, reduce = ORTHOGONALITY[self.options["orthogonality"]]
        regulariser = reduce(torch.cat(terms), torch.cat(counts))
        u = torch.cat(outputs)[order.argsort()]  # [batch, dim]
        return F.normalize(u, dim=-1), regulariser

    def _read_history(
        self, tokens: Tensor, seq: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sequence embeddings of a group, its terms of the regulariser, its interest counts.

        Args:
            tokens: ``[b, l, slots * dim]``, zero where padded.
            seq: ``[b, l]``.
            lengths: ``[b]``.
        """
        slots = self.slots.shape[1]
        tokens = tokens.reshape(len(seq), -1, tokens.shape[-1] // slots)  # [b, l * slots, dim]
        real = torch.arange(seq.shape[1], device=seq.device) < lengths[:, None]  # [b, l]
        pad = ~(self.slots[seq] & real[..., None]).flatten(1)  # [b, l * slots]
        last = (lengths[:, None] - 1) * slots + torch.arange(slots, device=seq.device)
        last_pad = pad.gather(1, last)  # [b, slots]
        centroids, interest_pad, count = self._interest_tokens(seq)
        terms, _ = ORTHOGONALITY[self.options["orthogonality"]]

        if self.options["structure"] == "no_interests":
            encoded = self.encoder(tokens, src_key_padding_mask=pad)
            u = masked_mean(take(encoded, last), last_pad)
            return u, u.new_zeros(len(u)), count
        if self.options["structure"] == "no_decoder":
            both = torch.cat([tokens, centroids], 1)
            encoded = self.encoder(both, src_key_padding_mask=torch.cat([pad, interest_pad], 1))
            u = masked_mean(take(encoded, last), last_pad)
            interests = encoded[:, tokens.shape[1] :]
        elif self.options["roles"] == "item_queries":
            interests = self.encoder(centroids, src_key_padding_mask=interest_pad)
            read = self.decoder(tokens, interests, pad, interest_pad, last)  # [b, slots, dim]
            u = masked_mean(read, last_pad)
        else:
            encoded = self.encoder(tokens, src_key_padding_mask=pad)
            interests = self.decoder(centroids, encoded, interest_pad, pad)  # [b, width, dim]
            u = masked_mean(interests, interest_pad)
        return u, terms(interests, ~interest_pad), count

    # --- candidates -------------------------------------------------------------------------

    def score_candidates(self, u: Tensor, table: ItemTable) -> Tensor:
        """Scores of all items over the temperature; that of the padding item means nothing.

        Args:
            u: normalised sequence embeddings, ``[batch, dim]``.
            table: all items.

        Returns:
            ``[batch, items]``.
        """
        cosines = u @ table.units.transpose(1, 2)  # [M, batch, items]
        content = self.fusion(cosines, self.present)  # [batch, items]
        if table.id_units is None:  # an item without any modality ranks last
            scores = content.masked_fill(~self.present.any(0), -1.0)
        else:
            weight = self.options["id_weight"]
            scores = (u @ table.id_units.T + weight * content) / (1 + weight)
        return scores / self.options["temperature"]

    # --- RecBole ----------------------------------------------------------------------------

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Cross-entropy over all items plus gamma times the regulariser."""
        table = self.item_table()
        u, regulariser = self.sequence_embedding(
            interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN], table
        )
        scores = self.score_candidates(u, table)[:, 1:]  # [batch, items - 1]
        loss = F.cross_entropy(scores, interaction[self.POS_ITEM_ID] - 1)
        return loss + self.options["gamma"] * regulariser

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, -inf for the padding item, ``[batch, items]``."""
        table = self.item_table()
        u, _ = self.sequence_embedding(
            interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN], table
        )
        scores = self.score_candidates(u, table)
        scores[:, 0] = -torch.inf
        return scores

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of one item a row, ``[batch]``."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)
