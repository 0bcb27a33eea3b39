"""VQRec: items as discrete codes of their features (Hou et al., WWW 2023, arXiv 2210.12316),
trained from scratch on one catalogue."""

from typing import Any

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from recbole_missrec.model.causal import CausalRecommender

ROTATIONS = 10  # steps of OPQ, whose time they decide; faiss takes 50


class VQRec(CausalRecommender):
    """Item vectors that are the mean of the embeddings of an item's codes.

    Codes are made of the features once and are part of a checkpoint, so that a loaded model reads
    those it was trained with. Those of several modalities stand beside each other; an absent
    modality has the padding code, which the mean leaves out.

    Args:
        config: the options of ``props/model/VQRec.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    codes: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, item_ids=False)
        groups, bits = config["code_groups"], config["code_bits"]
        parts: list[Tensor] = []
        for m in config["modalities"]:
            present = dataset.present[m]  # [items]
            codes = torch.zeros(self.n_items, groups, dtype=torch.int32)
            first = torch.arange(groups) + len(parts) * groups  # [groups]
            found = quantise(dataset.features[m][present].numpy(), groups, bits)
            codes[present] = (1 + (first << bits) + torch.from_numpy(found)).int()
            parts.append(codes)
        self.register_buffer("codes", torch.cat(parts, 1))  # int [items, modalities * groups]
        self.code_embedding = nn.EmbeddingBag(
            1 + (len(parts) * groups << bits), config["hidden_size"], mode="mean", padding_idx=0
        )
        self.apply(self.initialise)

    def content(self, items: Any) -> Tensor:
        """Mean of the embeddings of the codes, ``[items, dim]``."""
        return self.code_embedding(self.codes[items])


def quantise(features: np.ndarray, groups: int, bits: int) -> np.ndarray:
    """Codes of optimised product quantisation (Ge et al., CVPR 2013), by faiss.

    A rotation, learnt together with the codes, into ``groups`` parts of equal length; dimensions
    that are no multiple of it are filled up with zeros. Each part has ``2^bits`` centroids, or the
    largest power of two that its distinct rows allow. Rows are sorted, the seed is fixed and one
    thread computes: the codes of a row depend neither on the order of the rows nor on the machine's
    number of threads.

    Args:
        features: float32 ``[rows, dim]``.
        groups: codes a row, M.
        bits: of a code.

    Returns:
        From 0 to ``2^bits - 1``, int ``[rows, groups]``.
    """
    distinct = np.unique(features, axis=0)  # sorted
    bits = min(bits, len(distinct).bit_length() - 1)
    if not bits:  # all rows are one
        return np.zeros((len(features), groups), np.int32)
    dim = -(-features.shape[1] // groups) * groups
    quantiser = faiss.ProductQuantizer(dim, groups, bits)
    quantiser.cp.min_points_per_centroid = 1  # no warning on stderr for each part and step
    rotation = faiss.OPQMatrix(features.shape[1], groups, dim)
    rotation.pq, rotation.niter = quantiser, ROTATIONS
    with threadpool_limits(1):
        rotation.train(distinct)
        quantiser.train(rotation.apply(distinct))
        codes = quantiser.compute_codes(rotation.apply(features))
    return faiss.unpack_bitstrings(codes, groups, bits)
