"""The one place where parameters are frozen."""

from torch import nn

TUNED_PARTS = (
    *("adapters", "missing_token", "input_norm"),
    *("fusion", "history_bias", "item_embedding"),
)


def freeze(model: nn.Module, tune: str) -> None:
    """Leave trainable what a way of tuning names, and nothing else (MISSRec, section 3.5).

    Args:
        model: a MISSRec model.
        tune: ``full``, all parameters; ``adapters``, the modality adapters, the LayerNorm in front
            of the decoder, alpha, the bias of the history and the id table: positions and
            Transformer stay frozen; ``bias``, those and every bias of the Transformer (Ben Zaken
            et al., BitFit, 2022); ``lora``, those of ``adapters`` and the matrices of
            ``add_lora``, so that the two differ by the attention alone; ``none``;
            ``all_but_adapters``, to see what learning the adapters gives.
    """
    for name, parameter in model.named_parameters():
        part = name.split(".")[0]
        tuned = {
            "full": True,
            "adapters": part in TUNED_PARTS,
            "bias": part in TUNED_PARTS or name.endswith("bias"),
            "lora": part in TUNED_PARTS or ".lora_" in name,
            "none": False,
            "all_but_adapters": part != "adapters",
        }
        parameter.requires_grad = tuned[tune]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Trainable and total parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)
