"""Weights before the first step."""

import torch
from torch import Tensor, nn


def normal_weights(model: nn.Module, std: float, spared: nn.Module) -> None:
    """Normal weights, as in the released code: attention's in-projection is spared, too.

    Args:
        model: whose linear layers, without biases, and embeddings are initialised.
        std: of the weights.
        spared: modules that keep their own.
    """
    kept = set(spared.modules())
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and module not in kept:
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)


@torch.no_grad()
def forget(embedding: nn.Embedding, unseen: Tensor) -> None:
    """No id embedding for padding, nor for items that the training never reads.

    Nothing would teach these anything but to be no target: their features alone say what they are.
    They stay zero, since neither histories nor scores give them a gradient.

    Args:
        embedding: of all items.
        unseen: padding and the items that the training never reads, bool ``[items]``.
    """
    embedding.weight[unseen] = 0
