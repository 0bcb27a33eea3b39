"""SASRec (Kang and McAuley, ICDM 2018) with item features added to its item embeddings."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from recbole_missrec.model.adapters import AdaptedFeatures
from recbole_missrec.model.causal import CausalRecommender
from recbole_missrec.model.training import modality_rates


class SASRecContent(CausalRecommender):
    """Item vectors ``id_i + sum over the present modalities m of A_m f_i^m``, A_m linear.

    Args:
        config: the options of ``props/model/SASRecContent.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, item_ids=True)
        adapter = partial(nn.Linear, out_features=config["hidden_size"])
        left_out = modality_rates(config["modality_dropout"], config["modalities"])
        self.adapted = AdaptedFeatures(dataset, config["modalities"], adapter, left_out)
        self.apply(self.initialise)

    def content(self, items: Any) -> Tensor:
        """Sum over the present modalities, ``[items, dim]``."""
        return self.adapted(items)
