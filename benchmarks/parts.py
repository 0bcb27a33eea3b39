"""A training step of MISSRec part by part: what each takes, and the least that it could.

The floor of a part is the time that the matrix products which cannot be avoided take alone, on
the same threads: one item table forward and its weights' gradient; in the encoder queries, keys
and values of the distinct interests, the rest for the interests of each history; in the decoder
keys and values of all items and interests, the rest for the last item alone; the scores of all
items. Every product is counted forward and, where a gradient is needed, backward.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor

from benchmarks.measuring import Bench, seconds
from recbole_missrec.model.packing import Packed


class Product(NamedTuple):
    """``[rows, inner] @ [inner, columns]``, how often it is computed."""

    rows: int
    inner: int
    columns: int
    times: int = 1

    @property
    def flop(self) -> float:
        """Floating-point operations, a multiplication and an addition apart."""
        return 2.0 * self.rows * self.inner * self.columns * self.times


def forward_backward(rows: int, inner: int, columns: int, into_input: bool = True) -> list[Product]:
    """A linear layer: outputs, the weights' gradient, the input's gradient."""
    products = [Product(rows, inner, columns), Product(inner, rows, columns)]
    return [*products, Product(rows, columns, inner)] if into_input else products


def least_products(model: Any, packed: Packed, batch: int) -> dict[str, list[Product]]:
    """Products of each part of a step that cannot be avoided.

    Args:
        model: the default MISSRec.
        packed: a batch.
        batch: its rows.
    """
    dim, inner = model.options["hidden_size"], model.options["inner_size"]
    items, places = model.n_items, int((~packed.history.pad).sum())
    interests, distinct = int((~packed.interests.pad).sum()), len(packed.distinct)

    def rest(rows: int, projections: int) -> list[Product]:
        linear = forward_backward(rows, dim, inner) + forward_backward(rows, inner, dim)
        return linear + projections * forward_backward(rows, dim, dim)

    adapters = [
        product
        for name in model.modalities
        for product in forward_backward(items, model.adapters[name].in_features, dim, False)
    ]
    vectors = len(model.modalities) + (model.item_embedding is not None)
    return {
        "item table": adapters,
        "encoder": forward_backward(distinct, dim, 3 * dim, False) + rest(interests, 1),
        "decoder": forward_backward(places, dim, 2 * dim)
        + forward_backward(interests, dim, 2 * dim)
        + rest(batch, 4),
        "scores and loss": vectors * forward_backward(batch, dim, items),
    }


def product_seconds(products: list[Product], repeats: int) -> float:
    """Seconds of bare matrix products."""
    total = 0.0
    for rows, inner, columns, times in products:
        a, b, out = torch.rand(rows, inner), torch.rand(inner, columns), torch.empty(rows, columns)
        total += times * seconds(partial(torch.mm, a, b, out=out), repeats)
    return total


def step_parts(bench: Bench, batch: Interaction) -> dict[str, Callable[[], Tensor | None]]:
    """Parts of a training step, from inputs made before.

    Returns:
        Functions by name; those that a backward pass goes through give a scalar.
    """
    model = bench.model.train()
    laid_out = model.packed(batch)
    packed: Packed = laid_out.packed
    targets = batch[model.POS_ITEM_ID] - 1
    table = model.item_table(slice(0, model.n_items))
    history = model.history(laid_out)
    inputs = _leaf(F.embedding(packed.items[packed.item], model.history_inputs(table)))
    centroids = model.centroids[packed.distinct]
    interests = model.encoder(centroids, packed.interests, packed.interest)
    u, _ = model.sequence_embedding(packed, inputs)

    def packing() -> None:
        model.packer()(None, batch)

    def encoder() -> Tensor:
        return model.encoder(centroids, packed.interests, packed.interest).sum()

    def decoder() -> Tensor:
        memory = packed.interests, packed.everyone, packed.read
        return model.decoder(inputs, packed.history, _leaf(interests), *memory).sum()

    def scores() -> Tensor:
        leaves = table._replace(tokens=_leaf(table.tokens), ids=_leaf(table.ids))
        values = model.scores(_leaf(u), model.candidates(leaves), history)[:, 1:]
        return F.cross_entropy(model.without_unseen(values, slice(1, None)), targets)

    return {
        "packing": packing,
        "item table": lambda: model.item_table().tokens.sum(),
        "encoder": encoder,
        "decoder": decoder,
        "scores and loss": scores,
        "optimiser": bench.optimizer.step,
    }


def with_backward(part: Callable[[], Tensor | None]) -> Callable[[], None]:
    """The part and, where it gives a scalar, the backward pass through it."""

    def run() -> None:
        outcome = part()
        if outcome is not None:
            outcome.backward()

    return run


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
