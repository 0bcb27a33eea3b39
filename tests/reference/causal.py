"""The content baselines from their formulas: one history, position, head, item and expert at a
time, without dropout. Parameters are named as the models name theirs.
"""

import math

import torch
from torch import Tensor

from tests.reference.missrec import Tensors, affine, gelu, layer_norm, softmax

EPS = 1e-12


def moe(params: Tensors, name: str, x: Tensor, noise: Tensor | None = None) -> Tensor:
    """UniSRec's adaptor of one feature vector: experts (x - b_g) W_g, weighed by gates.

    The gates are softmax(x W + noise * (softplus(x W_noise) + 0.01)), noise [experts].
    """
    logits = x @ params[f"{name}gate"]
    if noise is not None:
        logits = logits + noise * ((1 + (x @ params[f"{name}noise"]).exp()).log() + 0.01)
    gates = softmax(logits)
    experts = zip(params[f"{name}weight"], params[f"{name}bias"], strict=True)
    return torch.stack(
        [gate * ((x - b[0]) @ w) for gate, (w, b) in zip(gates, experts, strict=True)]
    ).sum(0)


def unisrec_item(
    params: Tensors, features: dict[str, Tensor], sizes: dict[str, int], item: int
) -> Tensor:
    """Adaptor of the features in a row, zeros where a modality of some size is not given, plus the
    id embedding where there is one; an item without any has no adapted features."""
    width = params["position_embedding.weight"].shape[1]
    content = torch.zeros(width).double()
    if features:
        parts = [features.get(m, torch.zeros(size).double()) for m, size in sizes.items()]
        content = moe(params, f"adapted.adapters.{'_'.join(sizes)}.", torch.cat(parts))
    ids = params.get("item_embedding.weight")
    return content if ids is None else content + ids[item]


def sasrec_item(params: Tensors, features: dict[str, Tensor], item: int) -> Tensor:
    """id_i + sum of A_m f_i^m over the modalities given."""
    vector = params["item_embedding.weight"][item]
    for m, x in features.items():
        vector = vector + affine(params, f"adapted.adapters.{m}", x)
    return vector


def vqrec_item(params: Tensors, codes: list[int]) -> Tensor:
    """Mean of the embeddings of the codes but for padding, zero without any."""
    table = params["code_embedding.weight"]
    rows = [table[code] for code in codes if code]
    return torch.stack(rows).mean(0) if rows else torch.zeros_like(table[0])


def self_attention(params: Tensors, name: str, x: Tensor, heads: int) -> Tensor:
    """Multi-head attention in which position l reads positions 0 ... l, x [length, dim]."""
    q, k, v = (affine(params, f"{name}.{part}", x) for part in ("query", "key", "value"))
    size = x.shape[1] // heads
    rows = []
    for place in range(len(x)):
        contexts = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            logits = [q[place, part] @ k[o, part] / math.sqrt(size) for o in range(place + 1)]
            contexts.append(softmax(torch.stack(logits)) @ v[: place + 1, part])
        rows.append(torch.cat(contexts))
    return affine(params, f"{name}.dense", torch.stack(rows))


def sequence_embedding(params: Tensors, history: Tensor, layers: int, heads: int) -> Tensor:
    """Output at the last position of a history of item vectors, [length, dim]."""
    x = history + params["position_embedding.weight"][: len(history)]
    x = layer_norm(params, "input_norm", x, EPS)
    for index in range(layers):
        name = f"encoder.layer.{index}.multi_head_attention"
        attended = self_attention(params, name, x, heads)
        x = layer_norm(params, f"{name}.LayerNorm", x + attended, EPS)
        name = f"encoder.layer.{index}.feed_forward"
        inner = affine(params, f"{name}.dense_2", gelu(affine(params, f"{name}.dense_1", x)))
        x = layer_norm(params, f"{name}.LayerNorm", x + inner, EPS)
    return x[-1]
