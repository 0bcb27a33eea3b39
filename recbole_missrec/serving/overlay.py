"""Items that came after the training, and those that are offered no more, beside a checkpoint.

``FILE.items`` lies beside ``FILE.pth``, of the same format, data only. The checkpoint, its card and
whatever was exported stay as they are: added items have rows after all others, in the order in
which they came, and removed ones keep theirs. A checkpoint that is copied without the file has the
items of its training.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.errors import UsageError
from recbole_missrec.interests.discovery import nearest_interests
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.trainer.checkpoint import check_fields, load_checkpoint, save_checkpoint

Blocks = dict[str, tuple[Tensor, Tensor]]  # modality -> features as the model reads them, present


class Overlay(NamedTuple):
    """What has changed since the training.

    Attributes:
        tokens: raw tokens of the added items.
        blocks: modality -> features, standardised as those of the training, float32
            ``[added, d_m]``, and which of the added have it, bool ``[added]``.
        texts: of the added items, empty where there is none.
        removed: raw tokens of items that are not offered.
    """

    tokens: list[str]
    blocks: Blocks
    texts: list[str]
    removed: list[str]


def overlay_path(checkpoint: str | Path) -> Path:
    """Where the overlay of a checkpoint is."""
    return Path(checkpoint).with_suffix(".items")


def read_overlay(checkpoint: str | Path, data: Any) -> Overlay:
    """Overlay of a checkpoint, empty if there is none.

    Args:
        checkpoint: its path.
        data: identity of the data that it was trained on.

    Raises:
        UsageError: the overlay is damaged, or of another checkpoint's catalogue.
    """
    path = overlay_path(checkpoint)
    if not path.exists():
        return Overlay([], {}, [], [])
    content = load_checkpoint(path, fields={"data": dict})
    if content["data"] != data or "removed" not in content:
        raise UsageError(f"{path}: of another catalogue than {checkpoint}")
    check_fields(path, content, {"tokens": list, "blocks": dict, "texts": list, "removed": list})
    overlay = Overlay(*(content[field] for field in Overlay._fields))
    if not _fits_together(overlay):
        raise UsageError(f"{path}: damaged: its items and their features do not fit together")
    return overlay


def _fits_together(overlay: Overlay) -> bool:
    """Whether each list has an entry, and each matrix a row, for each added item."""
    added = len(overlay.tokens)
    texts = [*overlay.tokens, *overlay.texts, *overlay.removed, *overlay.blocks]
    return (
        len(overlay.texts) == added
        and all(isinstance(text, str) for text in texts)
        and all(
            isinstance(block, tuple)
            and all(isinstance(part, Tensor) for part in block)
            and [(part.dim(), part.dtype) for part in block]
            == [(2, torch.float32), (1, torch.bool)]
            and {len(part) for part in block} == {added}
            for block in overlay.blocks.values()
        )
    )


def check_widths(checkpoint: str | Path, model: Any, blocks: Blocks) -> None:
    """See that an overlay has the modalities of the model, each as wide.

    Raises:
        UsageError: it has others.
    """
    holder = getattr(model, "adapted", model)
    widths = {modality: features.shape[1] for modality, (features, _) in blocks.items()}
    buffers = {modality: getattr(holder, f"features_{modality}", None) for modality in widths}
    held = {modality: held.shape[1] for modality, held in buffers.items() if held is not None}
    if widths != held or len(held) != len(model.present):
        described = ", ".join(f"{modality} {width}" for modality, width in widths.items())
        raise UsageError(
            f"{overlay_path(checkpoint)}: damaged: its features ({described or 'none'}) are not as "
            "those of the checkpoint"
        )


def write_overlay(checkpoint: str | Path, data: Any, overlay: Overlay) -> Path:
    """Write the overlay of a checkpoint, whole or not at all; arguments as ``read_overlay``."""
    save_checkpoint(overlay_path(checkpoint), {"data": data, **overlay._asdict()})
    return overlay_path(checkpoint)


@torch.no_grad()
def extend(model: Any, blocks: Blocks) -> None:
    """Give a model more items; the others keep their rows, vectors and scores.

    An added item has no id embedding: its features alone score it, and stand for it in histories;
    MISSRec's ``unseen_bias`` raises it.
    Of MISSRec it takes the nearest interest for each modality, and the mean alpha where each item
    has one. Time and memory grow as all items, whose buffers are made anew.

    Args:
        model: MISSRec, UniSRec or SASRecContent, with all its weights.
        blocks: features of the added items, see ``Overlay``; all modalities of the model.

    Raises:
        UsageError: the model cannot take items that it was not trained with.
    """
    if not hasattr(model, "adapted") and not isinstance(model, MISSRec):
        raise UsageError(f"{type(model).__name__} has codes for the items of its training alone")
    first = model.n_items
    for holder in {model, getattr(model, "adapted", model)}:
        for modality, (features, there) in blocks.items():
            name = f"features_{modality}"
            held = getattr(holder, name, None)
            if isinstance(held, FeatureStore):
                held.append(features, there)
            elif held is not None:
                setattr(holder, name, _longer(held, features))
        present = torch.stack([there for _, there in blocks.values()])  # [modalities, added]
        holder.present = _longer(holder.present.T, present.T).T
    model.n_items = len(model.present.T)
    if model.item_embedding is not None:
        weight = model.item_embedding.weight
        zeros = weight.new_zeros(model.n_items - first, weight.shape[1])
        model.item_embedding.weight = nn.Parameter(_longer(weight, zeros))
    if isinstance(model, MISSRec):
        _extend_missrec(model, first)


def _extend_missrec(model: MISSRec, first: int) -> None:
    """What MISSRec alone has of each item, from item ``first`` on."""
    added = slice(first, model.n_items)
    model.train(model.training)  # takes notice of items without an id embedding
    model.unseen = _longer(model.unseen, torch.ones(model.n_items - first))
    model.slots = model.slots_of(model.present)
    model.fusion.add_items(model.n_items - first)
    present = model.present[:, added]
    if model.options["structure"] == "no_interests":
        present = torch.zeros_like(present)
    ids = nearest_interests(model.item_tokens(added), present, model.centroids)
    model.interest_ids = _longer(model.interest_ids, ids)


def _longer(rows: Tensor, more: Tensor) -> Tensor:
    return torch.cat([rows, more.to(rows)])
