"""What the recommenders of this project have in common."""

from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor


class OwnRecommender(SequentialRecommender):
    """A sequential recommender that scores all items at once, and trains on rows of one target."""

    input_type = InputType.POINTWISE

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of one item a row, ``[batch]``."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)
