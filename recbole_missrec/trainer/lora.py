"""LoRA on the attention by the package peft (Hu et al., LoRA: low-rank adaptation of large language
models, 2022)."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from recbole_missrec.torchvision_shim import ensure_torchvision

SCALE = 2.0  # of the product of the two matrices: lora_alpha over the rank
ATTENTIONS = ["self_attn", "multihead_attn"]
_WEIGHT = re.compile(r"(.*)\.base_layer\.(?:in_proj_weight|weight)")


def add_lora(model: nn.Module, rank: int) -> None:
    """Put a pair of matrices beside each projection of each attention; the scores stay as they are.

    A weight W ``[out, in]`` then gives ``(W + 2 B A) x``, with A ``[rank, in]`` random and B
    ``[out, rank]`` zero. Queries, keys and values are one projection, the output is another: with
    size D these are ``6 rank D`` parameters an attention. Time and memory grow as the rank.

    Args:
        model: its attentions are replaced by peft's layers, which keep them.
        rank: of the product.
    """
    ensure_torchvision()
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=int(SCALE * rank), target_modules=ATTENTIONS)
    inject_adapter_in_model(config, model)


def without_lora(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model without LoRA that computes the same.

    Args:
        state: of a model with LoRA or without, which is then the result.

    Returns:
        ``W + 2 B A`` in place of W, A and B.
    """
    plain = {}
    for name, value in state.items():
        if ".lora_" in name:
            continue
        weight = _WEIGHT.fullmatch(name)
        if weight:
            a, b = (state[f"{weight[1]}.lora_{matrix}.default.weight"] for matrix in "AB")
            value = value + SCALE * b @ a
        plain[name.replace(".base_layer", "")] = value
    return plain
