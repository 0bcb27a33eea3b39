"""UniSRec: universal sequence representations from item texts (Hou et al., KDD 2022, arXiv
2206.05941), trained from scratch on one catalogue."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_missrec.model.adapters import JoinedFeatures
from recbole_missrec.model.causal import CausalRecommender
from recbole_missrec.model.dropout import dropout
from recbole_missrec.model.training import modality_rates

NOISE_FLOOR = 1e-2  # of the gates' standard deviation, as in the released code


class MixtureOfExperts(nn.Module):
    """Adaptor of experts that whiten, weighed by gates (equations 1 to 4).

    An expert is ``(dropout(x) - b_g) W_g``; the gates are ``softmax(x W_gate)``, in training
    ``softmax(x W_gate + noise * softplus(x W_noise))`` with normal noise. As in the released code
    gates start equal.

    Args:
        experts: G.
        in_dim: of the features.
        out_dim: of the item vectors.
        dropout: probability of a zero, drawn for each expert.
        std: of the initial W_g.
    """

    def __init__(self, in_dim: int, experts: int, out_dim: int, dropout: float, std: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.randn(experts, in_dim, out_dim) * std)
        self.bias = nn.Parameter(torch.zeros(experts, 1, in_dim))
        self.gate = nn.Parameter(torch.zeros(in_dim, experts))
        self.noise = nn.Parameter(torch.zeros(in_dim, experts))

    def forward(self, x: Tensor) -> Tensor:
        """Adapt features ``[items, in_dim]`` to ``[items, out_dim]``."""
        logits = x @ self.gate  # [items, experts]
        if self.training:
            scale = F.softplus(x @ self.noise) + NOISE_FLOOR
            logits = logits + torch.randn_like(logits) * scale
        inputs = dropout(x.expand(len(self.weight), -1, -1), self.dropout, self.training)
        shift = self.bias @ self.weight  # [experts, 1, out_dim]
        outputs = inputs @ self.weight - shift  # [experts, items, out_dim]
        return torch.einsum("ig,gid->id", logits.softmax(-1), outputs)


class UniSRec(CausalRecommender):
    """Item vectors out of a mixture of experts.

    With several modalities, which are not in its paper, the experts read their features beside
    each other, zeros where one is absent.

    Args:
        config: the options of ``props/model/UniSRec.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, config["item_ids"])
        self.apply(self.initialise)
        adaptor = partial(
            MixtureOfExperts,
            experts=config["n_experts"],
            out_dim=config["hidden_size"],
            dropout=config["adaptor_dropout_prob"],
            std=self.std,
        )
        left_out = modality_rates(config["modality_dropout"], config["modalities"])
        self.adapted = JoinedFeatures(dataset, config["modalities"], adaptor, left_out)

    def content(self, items: Any) -> Tensor:
        """Adapted features, ``[items, dim]``."""
        return self.adapted(items)
