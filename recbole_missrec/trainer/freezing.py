"""The one place where parameters are frozen."""

from torch import nn

TUNED_PARTS = ("adapters", "input_norm", "fusion", "item_embedding")


def freeze(model: nn.Module, tune: str) -> None:
    """Leave trainable what a way of tuning names, and nothing else (MISSRec, section 3.5).

    Args:
        model: a MISSRec model.
        tune: ``full``, all parameters; ``adapters``, the modality adapters, the LayerNorm in front
            of the decoder, alpha and the id table: positions and Transformer stay frozen.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad = tune == "full" or name.split(".")[0] in TUNED_PARTS


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Trainable and total parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)
