"""The default MISSRec in the padded form, to compare with: same parameters, same results.

Every history is padded to ``MAX_ITEM_LIST_LENGTH`` items and to as many interests as it has tokens
at most, adapters run on the histories' features, all items are adapted anew for each batch, and
PyTorch's Transformer layers compute the outputs of all positions, of which the last is read.
"""

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_missrec.losses.orthogonality import ORTHOGONALITY
from recbole_missrec.model.history import History
from recbole_missrec.model.missrec import MISSRec


class PaddedMISSRec(nn.Module):
    """PyTorch's own layers around the parameters of a model.

    Args:
        model: with item queries, added modalities, shared fusion, item ids, encoder and decoder.
    """

    def __init__(self, model: MISSRec) -> None:
        super().__init__()
        self.model = model
        options = model.options
        dim, heads, inner = (options[key] for key in ("hidden_size", "n_heads", "inner_size"))
        eps = options["layer_norm_eps"]
        kind = {"activation": "gelu", "layer_norm_eps": eps, "batch_first": True}
        sizes = (dim, heads, inner, options["dropout"])
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*sizes, **kind),
            options["n_encoder_layers"],
            nn.LayerNorm(dim, eps=eps),
            enable_nested_tensor=False,
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(*sizes, **kind),
            options["n_decoder_layers"],
            nn.LayerNorm(dim, eps=eps),
        )
        for name in ("encoder", "decoder"):  # the parameters themselves, not copies
            parameters = getattr(model, name).state_dict(keep_vars=True)
            getattr(self, name).load_state_dict(parameters, assign=True)

    def calculate_loss(self, batch: Interaction) -> Tensor:
        """What ``MISSRec.calculate_loss`` gives."""
        scores, regulariser = self(batch)
        kept = self.model.without_unseen(scores[:, 1:], slice(1, None))
        loss = F.cross_entropy(kept, batch[self.model.POS_ITEM_ID] - 1)
        return loss + self.model.options["gamma"] * regulariser

    @torch.no_grad()
    def full_sort_predict(self, batch: Interaction) -> Tensor:
        """What ``MISSRec.full_sort_predict`` gives, ``[batch, items]``."""
        scores, _ = self(batch)
        scores[:, 0] = -torch.inf
        return scores

    def forward(self, batch: Interaction) -> tuple[Tensor, Tensor]:
        """Scores of all items over the temperature, and the orthogonality regulariser.

        Time and memory grow as ``batch * MAX_ITEM_LIST_LENGTH``, however short the histories are.

        Args:
            batch: histories, their lengths.

        Returns:
            ``[batch, items]`` and a scalar.
        """
        model = self.model
        assert model.item_embedding is not None
        item_seq = batch[model.ITEM_SEQ]  # [batch, width]
        item_seq = F.pad(item_seq, (0, model.max_seq_length - item_seq.shape[1]))
        last = batch[model.ITEM_SEQ_LEN] - 1  # [batch]
        pad = torch.arange(model.max_seq_length, device=last.device) > last[:, None]
        tokens = content_tokens(model, item_seq) + model.item_embedding(item_seq)
        tokens = tokens + model.position_embedding.weight  # [batch, length, dim]
        tokens = F.dropout(model.input_norm(tokens), model.options["dropout"], self.training)
        centroids, interest_pad = interest_tokens(model, item_seq)  # [batch, width, dim]
        interests = self.encoder(centroids, src_key_padding_mask=interest_pad)
        read = self.decoder(
            tokens,
            interests,
            tgt_key_padding_mask=pad,
            memory_key_padding_mask=interest_pad,
        )  # [batch, length, dim]
        u = F.normalize(read[torch.arange(len(read)), last], dim=-1)  # [batch, dim]

        candidates = model.candidates(model.item_table(slice(0, model.n_items)))
        history = History(item_seq, batch[model.ITEM_SEQ_LEN])
        scores = model.scores(u, candidates, history)
        terms, reduce = ORTHOGONALITY[model.options["orthogonality"]]
        return scores, reduce(terms(interests, ~interest_pad), (~interest_pad).sum(1))


def content_tokens(model: MISSRec, item_seq: Tensor) -> Tensor:
    """Added tokens of an item's modalities, ``[batch, length] -> [batch, length, dim]``."""
    tokens = []
    for modality, present in zip(model.modalities, model.present, strict=True):
        features = getattr(model, f"features_{modality}")[item_seq]  # [batch, length, features]
        tokens.append(model.adapters[modality](features) * present[item_seq][..., None])
    return sum(tokens[1:], tokens[0])


def interest_tokens(model: MISSRec, item_seq: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct interests of each history, as wide as all its tokens.

    Args:
        model: after ``discover_interests``.
        item_seq: ``[batch, length]``.

    Returns:
        Centroids ``[batch, length * modalities, dim]`` and bool ``[batch, length * modalities]``,
        True for padding. A history without any interest reads one zero vector.
    """
    none = len(model.centroids) - 1
    ids = model.interest_ids[item_seq].flatten(1).sort(1).values  # [batch, length * modalities]
    ids[:, 1:].masked_fill_(ids[:, 1:] == ids[:, :-1], none)  # the comparison is made first
    ids = ids.sort(1).values
    pad = ids == none
    pad[:, 0] = False
    return model.centroids[ids], pad
