"""The last item's nearest by features: what there is to gain without any training."""

from typing import Any

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_missrec.model.base import OwnRecommender


class LastItem(OwnRecommender):
    """Mean cosine of frozen features with the last item, over the modalities that both have.

    Items without a modality in common with it have the lowest cosine, -1; the last item itself
    comes after all others.

    Args:
        config: the options of ``props/model/LastItem.yaml``.
        dataset: a ``MultiModalSequentialDataset``.
    """

    present: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.modalities: list[str] = config["modalities"]
        for m in self.modalities:  # of length 1, zero where absent
            self.register_buffer(
                f"features_{m}", F.normalize(dataset.features[m], dim=1), persistent=False
            )
        present = torch.stack([dataset.present[m] for m in self.modalities])  # [M, items]
        self.register_buffer("present", present, persistent=False)
        self.nothing = nn.Parameter(torch.empty(0))  # an optimiser refuses to have none

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Zero: nothing is learnt."""
        return self.nothing.sum()

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, -inf for the padding item, ``[batch, items]``."""
        place = interaction[self.ITEM_SEQ_LEN][:, None] - 1
        last = interaction[self.ITEM_SEQ].gather(1, place).squeeze(1)  # [batch]
        present = self.present.float()
        total = present.new_zeros(len(last), self.n_items)
        for modality in self.modalities:
            features = getattr(self, f"features_{modality}")
            total += features[last] @ features.T  # [batch, items]
        common = present[:, last].T @ present  # modalities that both have, [batch, items]
        scores = (total / common).masked_fill_(common == 0, -1)
        scores.scatter_(1, last[:, None], -2)
        scores[:, 0] = -torch.inf
        return scores
