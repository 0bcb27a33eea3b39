"""MISSRec: multi-modal pre-training and transfer learning for interest-aware sequential
recommendation (Wang et al., ACM Multimedia 2023, arXiv 2308.11175)."""

from typing import Any

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_missrec import processes
from recbole_missrec.data.augmentation import RATE
from recbole_missrec.data.histories import items_read
from recbole_missrec.interests.discovery import num_interests
from recbole_missrec.losses.orthogonality import ORTHOGONALITY
from recbole_missrec.model.base import OwnRecommender
from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.fusion import CandidateFusion
from recbole_missrec.model.history import History, HistoryBias
from recbole_missrec.model.initial import forget, normal_weights
from recbole_missrec.model.interests import InterestSide
from recbole_missrec.model.items import ItemTable
from recbole_missrec.model.objectives import CHUNK, OBJECTIVES, chunks, copy_contrast
from recbole_missrec.model.packing import Packed, PackedInteraction, Packer
from recbole_missrec.model.reading import READINGS, by_row
from recbole_missrec.model.training import LeftOut, TrainingPacker
from recbole_missrec.model.transformer import Decoder, Encoder


class MISSRec(InterestSide, OwnRecommender):
    """Interests of a history, an embedding of the sequence, fused scores of the candidates.

    Args:
        config: the options of ``props/model/MISSRec.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.options = config
        self.modalities: list[str] = config["modalities"]
        dim: int = config["hidden_size"]
        for modality in self.modalities:
            self._hold(f"features_{modality}", dataset.features[modality])
        for modality, matrix in dataset.augmented.items():
            self._hold(f"augmented_{modality}", matrix)
        self.augmented = tuple(dataset.augmented)
        if config["sequence_contrast"] and not self.augmented:
            self.logger.warning(
                "no features of augmented texts (--augmented-text of a builder): copies of "
                f"sequences get feature dropout of {RATE} instead"
            )
        present = torch.stack([dataset.present[m] for m in self.modalities])  # [M, items]
        self.register_buffer("present", present, persistent=False)
        self.missing_token = (
            nn.Parameter(torch.randn(len(present), dim) * config["initializer_range"])
            if config["missing"] == "token"
            else None
        )
        self.register_buffer("slots", self.slots_of(present), persistent=False)

        self.adapters = nn.ModuleDict(
            {m: nn.Linear(dataset.features[m].shape[1], dim) for m in self.modalities}
        )
        self.position_embedding = nn.Embedding(self.max_seq_length, dim)
        self.item_embedding = (
            nn.Embedding(self.n_items, dim, padding_idx=0) if config["item_ids"] else None
        )
        self.input_norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        structure = config["structure"]
        self.reading = config["roles"] if structure == "encoder_decoder" else structure
        size = {
            "dim": dim,
            "heads": config["n_heads"],
            "inner": config["inner_size"],
            "dropout": config["dropout"],
            "eps": config["layer_norm_eps"],
        }
        encoder_layers, decoder_layers = config["n_encoder_layers"], config["n_decoder_layers"]
        if structure == "encoder_decoder":
            self.encoder = Encoder(encoder_layers, **size)
            self.decoder: Decoder | None = Decoder(decoder_layers, **size)
        else:
            self.decoder = None
            self.encoder = Encoder(encoder_layers + decoder_layers, **size)
        bought = torch.as_tensor(dataset.inter_feat[self.ITEM_ID])  # a row for each target
        counts = torch.bincount(bought, minlength=self.n_items)
        self.fusion = CandidateFusion(
            config["item_mm_fusion"], counts, len(present), dim, config["calibrate"]
        )
        self.history_bias = HistoryBias() if config["history_bias"] else None
        normal_weights(self, config["initializer_range"], spared=self.adapters)
        unseen = torch.ones(self.n_items, dtype=torch.bool)
        unseen[items_read(dataset.inter_feat, self.ITEM_ID, self.ITEM_SEQ)] = False
        unseen[0] = True
        if self.item_embedding is not None:
            forget(self.item_embedding, unseen)
        self.spares_unseen = not config["unseen_negatives"] and bool(unseen[1:].any())
        self.register_buffer("unseen", unseen)
        if config["softmax"] == "sampled":
            sold = counts + 1
            sold[unseen if self.spares_unseen else 0] = 0  # never drawn
            share = sold.double() / sold.sum()  # float32 adds millions of shares up with an error
            self.register_buffer("share", share, persistent=False)

        clusters = num_interests(present.T, config)
        self.register_buffer("interest_ids", torch.full((self.n_items, len(present)), clusters))
        self.register_buffer("centroids", torch.zeros(clusters + 1, dim))  # the last: no interest
        nobody = torch.zeros(self.n_items, dtype=torch.bool)
        self.register_buffer("without_id", nobody, persistent=False)  # see ``train``
        self.health: dict[str, float] = {}  # of the last discovery, see Health
        self.other_parameter_name = ["health"]  # RecBole keeps it in checkpoints
        self._candidates: ItemTable | None = None  # all items, kept for an evaluation pass
        self._find_without_id()

    def _hold(self, name: str, features: Any) -> None:
        """Frozen features, out of checkpoints; those that stay in their files do not move along."""
        if isinstance(features, Tensor):
            self.register_buffer(name, features, persistent=False)
        else:
            setattr(self, name, features)

    def train(self, mode: bool = True) -> "MISSRec":
        """Switch mode; a new pass begins, so that an evaluation computes the items anew."""
        self._candidates = None
        self._find_without_id()
        if self.training and not mode and self.options["interest_gradient"]:
            self.centroids.copy_(self.interest_means().detach())
        return super().train(mode)

    def _find_without_id(self) -> None:
        if self.item_embedding is not None:
            self.without_id = ~self.item_embedding.weight.detach().any(1)  # [n_items]

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """As of any module; what was kept of the items before is forgotten.

        Checkpoints of before do not say which items the training never read: the model keeps what
        its own data says.
        """
        result = super().load_state_dict({"unseen": self.unseen, **state_dict}, *args, **kwargs)
        self.train(self.training)
        return result

    # --- sequences --------------------------------------------------------------------------

    def packer(self) -> Packer:
        """Lays batches out on the CPU, by the interests as they are now."""
        return Packer(
            self.interest_ids.cpu(),
            len(self.centroids) - 1,
            self.slots.cpu(),
            self.reading,
            self.options["n_decoder_layers"],
            self.ITEM_SEQ,
            self.ITEM_SEQ_LEN,
            self.options["interest_recency"],
        )

    def training_packer(self, epoch: int) -> TrainingPacker:
        """The same for training batches.

        Args:
            epoch: decides the draws of augmented copies and of left-out modalities.
        """
        copies = self.options["sequence_contrast"] > 0
        seed = self.options["seed"] + 7919 * epoch
        left_out = LeftOut.by(self.options, self.present.cpu(), self.slots_of)
        return TrainingPacker(self.packer(), self.POS_ITEM_ID, copies, seed, left_out)

    def packed(self, interaction: Interaction, training: bool = False) -> PackedInteraction:
        """A batch with its packed form, as its loader made it or made now."""
        if not isinstance(interaction, PackedInteraction):
            device = interaction[self.ITEM_SEQ].device
            packer = self.training_packer(0) if training else self.packer()
            interaction = packer(None, interaction).to(device)
        return interaction

    def sequence_embedding(self, packed: Packed, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised sequence embeddings u and the interest representations xi.

        Args:
            packed: histories.
            inputs: of the items in their places, ``[places, times * dim]``.

        Returns:
            ``[batch, dim]`` and ``[interest slots, dim]``, None without interests.
        """
        position = self.position_embedding(packed.position)  # [places, dim]
        tokens = inputs.unflatten(1, (-1, position.shape[1])) + position[:, None]
        tokens = self.input_norm(tokens.flatten(0, 1))  # [slots, dim]
        tokens = dropout(tokens, self.options["dropout"], self.training)
        centroids = self.interest_means()[packed.distinct]  # [distinct, dim]
        if packed.recent is not None:  # no longer the same in each history
            recent = self.position_embedding(packed.recent)  # [interest slots, dim]
            centroids = F.embedding(packed.interest, centroids) + recent
            packed = packed._replace(interest=torch.arange(len(recent), device=recent.device))
        reading = READINGS[self.reading]
        u, interests = reading(self.encoder, self.decoder, tokens, centroids, packed)
        return F.normalize(u[packed.restore], dim=-1), interests

    def regulariser(self, interests: Tensor | None, packed: Packed) -> Tensor:
        """The orthogonality regulariser R of a training batch, a scalar.

        With several processes it is the sum over the rows of this one, over a number of all rows,
        times the number of processes: R is their mean, as it is of the gradients.
        """
        if interests is None:
            return self.centroids.new_zeros(())
        terms, reduce = ORTHOGONALITY[self.options["orthogonality"]]
        values, counts = by_row(terms, interests, packed.interests)  # [rows]
        return processes.world_size() * reduce(values, processes.joined(counts))

    def copy_embedding(self, packed: Packed) -> tuple[Tensor, Tensor | None]:
        """The same of augmented copies, whose items from ``n_items`` on have altered features."""
        altered = packed.items >= self.n_items
        table = self.item_table(packed.items % self.n_items, altered=altered)
        return self.sequence_embedding(packed, self.history_places(table, packed.item, packed))

    def history(self, interaction: PackedInteraction) -> History:
        """Histories of a batch."""
        present = None if interaction.batch is None else interaction.batch.present
        items, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        return History(items, lengths, interaction.packed.kept, present)

    # --- RecBole ----------------------------------------------------------------------------

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Cross-entropy over the items plus gamma times the regulariser.

        In a catalogue of one chunk all items are adapted, once a step, for histories and
        candidates together; in a larger one those of the histories, and candidates apart.
        """
        interaction = self.packed(interaction, training=True)
        packed, targets = interaction.packed, interaction[self.POS_ITEM_ID]
        whole = self.options["softmax"] == "full" and self.n_items <= CHUNK
        history = self.history(interaction)
        items = slice(0, self.n_items) if whole else packed.items
        table = self.item_table(items, present=history.present)
        place = packed.items[packed.item] if whole else packed.item
        u, interests = self.sequence_embedding(packed, self.history_places(table, place, packed))
        if whole:
            scores = self.scores(u, self.candidates(table), history)[:, 1:]
            loss = F.cross_entropy(self.without_unseen(scores, slice(1, None)), targets - 1)
        else:
            loss = OBJECTIVES[self.options["softmax"]](self, u, interaction.batch, history)
        regulariser = self.regulariser(interests, packed)
        if interaction.copies is not None:
            v, interests = self.copy_embedding(interaction.copies.packed)
            how = interaction.batch, interaction.copies, self.options["temperature"]
            loss = loss + self.options["sequence_contrast"] * copy_contrast(u, v, *how)
            regulariser = regulariser + self.regulariser(interests, interaction.copies.packed)
        return loss + self.options["gamma"] * regulariser

    def without_unseen(self, scores: Tensor, items: slice) -> Tensor:
        """Scores for the loss, -inf for items that the training never reads.

        These would be nothing but negatives, and learn that they are never next. Not in the paper.

        Args:
            scores: ``[batch, items]``.
            items: whose scores these are.
        """
        return scores.masked_fill(self.unseen[items], -torch.inf) if self.spares_unseen else scores

    def embed(self, interaction: Interaction) -> Tensor:
        """Normalised sequence embeddings of a batch, ``[batch, dim]``."""
        packed = self.packed(interaction).packed
        table = self.item_table(packed.items)
        return self.sequence_embedding(packed, self.history_places(table, packed.item, packed))[0]

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, -inf for the padding item, ``[batch, items]``."""
        interaction = self.packed(interaction)
        u = self.embed(interaction)
        candidates, history = self.all_candidates(), self.history(interaction)
        scores = u.new_empty(len(u), self.n_items)
        for items in chunks(0, self.n_items):
            scores[:, items] = self.scores(u, candidates.part(items), history)
        scores[:, 0] = -torch.inf
        return scores
