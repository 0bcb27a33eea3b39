"""The default MISSRec in the padded form, to compare with: same parameters, same results.

Every history is padded to ``MAX_ITEM_LIST_LENGTH`` items and to as many interests as it has tokens
at most, adapters run on the histories' features, all items are adapted anew for each batch, and
the decoder computes the outputs of all positions, of which the last real one is read.
"""

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec.losses.orthogonality import ORTHOGONALITY
from recbole_missrec.model.missrec import ItemTable, MISSRec


def padded_loss(model: MISSRec, batch: Interaction) -> Tensor:
    """What ``MISSRec.calculate_loss`` gives."""
    scores, regulariser = padded_forward(model, batch)
    loss = F.cross_entropy(scores[:, 1:], batch[model.POS_ITEM_ID] - 1)
    return loss + model.options["gamma"] * regulariser


def padded_scores(model: MISSRec, batch: Interaction) -> Tensor:
    """What ``MISSRec.full_sort_predict`` gives, ``[batch, items]``."""
    scores, _ = padded_forward(model, batch)
    scores[:, 0] = -torch.inf
    return scores


def padded_forward(model: MISSRec, batch: Interaction) -> tuple[Tensor, Tensor]:
    """Scores of all items over the temperature, and the orthogonality regulariser.

    Time and memory grow as ``batch * MAX_ITEM_LIST_LENGTH``, however short the histories are.

    Args:
        model: with item queries, added modalities, shared fusion, item ids, encoder and decoder.
        batch: histories, their lengths.

    Returns:
        ``[batch, items]`` and a scalar.
    """
    assert model.item_embedding is not None
    item_seq = batch[model.ITEM_SEQ]  # [batch, width]
    item_seq = F.pad(item_seq, (0, model.max_seq_length - item_seq.shape[1]))  # [batch, length]
    last = batch[model.ITEM_SEQ_LEN] - 1  # [batch]
    pad = torch.arange(model.max_seq_length, device=last.device) > last[:, None]
    tokens = content_tokens(model, item_seq) + model.item_embedding(item_seq)
    tokens = tokens + model.position_embedding.weight  # [batch, length, dim]
    tokens = model.input_dropout(model.input_norm(tokens))
    centroids, interest_pad = interest_tokens(model, item_seq)  # [batch, width, dim]
    interests = model.encoder(centroids, src_key_padding_mask=interest_pad)
    read = model.decoder(tokens, interests, pad, interest_pad)  # [batch, length, dim]
    u = F.normalize(read[torch.arange(len(read)), last], dim=-1)  # [batch, dim]

    units = F.normalize(model.item_tokens(), dim=-1)  # [modalities, items, dim]
    id_units = F.normalize(model.item_embedding.weight, dim=-1)  # [items, dim]
    scores = model.score_candidates(u, ItemTable(u.new_empty(0), units, id_units))
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
