"""The authors' MISSRec with its parameters and their names, one sequence at a time, no dropout.

From their formulas: https://github.com/gimpong/MM23-MISSRec.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Official(nn.Module):
    """A pre-trained model: no item ids; items have text and image.

    Args:
        features: dimensions of text and image features.
        dim: hidden size.
        heads: attention heads.
        inner: size of the feed-forward layers.
        layers: of the encoder, and as many of the decoder.
        longest: positions.
        eps: of the LayerNorms.
    """

    def __init__(
        self,
        features: tuple[int, int],
        dim: int,
        heads: int,
        inner: int,
        layers: int,
        longest: int,
        eps: float,
    ) -> None:
        super().__init__()
        self.position_embedding = nn.Embedding(longest, dim)
        self.trm_model = nn.Transformer(
            dim, heads, layers, layers, inner, 0.0, "gelu", layer_norm_eps=eps, batch_first=True
        )
        self.LayerNorm = nn.LayerNorm(dim, eps=eps)
        self.fusion_factor = nn.Parameter(torch.tensor(0.0))
        self.text_adaptor = nn.Linear(features[0], dim)
        self.img_adaptor = nn.Linear(features[1], dim)

    def sequence_embedding(self, text: Tensor, image: Tensor, interests: Tensor) -> Tensor:
        """u, ``[dim]``.

        Args:
            text: features of the items in their order, ``[length, features]``.
            image: likewise.
            interests: embeddings of the distinct interests, ``[interests, dim]``.
        """
        tokens = self.text_adaptor(text) + self.img_adaptor(image)
        tokens = self.LayerNorm(tokens + self.position_embedding.weight[: len(text)])
        memory = self.trm_model.encoder(interests[None])
        return F.normalize(self.trm_model.decoder(tokens[None], memory)[0, -1], dim=0)

    def scores(self, u: Tensor, text: Tensor, image: Tensor, temperature: float) -> Tensor:
        """Scores of items by their features, ``[items]``."""
        cosines = torch.stack(
            [
                F.normalize(self.text_adaptor(text), dim=1) @ u,
                F.normalize(self.img_adaptor(image), dim=1) @ u,
            ],
            dim=1,
        )  # [items, 2]
        weights = (self.fusion_factor * cosines).softmax(1)
        return (weights * cosines).sum(1) / temperature
