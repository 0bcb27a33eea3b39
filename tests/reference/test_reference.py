"""The oracle's own pieces, against values worked by hand and against the layers of `torch.nn`."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from . import missrec
from .density_peaks import density_peaks

HALF = math.sqrt(0.5)


def vec(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def check(actual: Tensor, *expected: Any) -> None:
    """Equality to 1e-9; a single expected value stands for itself, more make a vector."""
    wanted = torch.as_tensor(expected[0] if len(expected) == 1 else expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach(), wanted, rtol=1e-9, atol=1e-9)


# Elementary operations


def test_layer_norm() -> None:
    params = {"n.weight": vec(2, 3), "n.bias": vec(0, 1)}
    # mean 0, variance 1: unchanged by eps 0, halved by eps 3, then weight and bias
    check(missrec.layer_norm(params, "n", vec(1, -1), eps=0.0), 2, -2)
    check(missrec.layer_norm(params, "n", vec(1, -1), eps=3.0), 1, -0.5)
    # mean 5, variance 4
    check(missrec.layer_norm(params, "n", vec(7, 3), eps=0.0), 2, -2)


def test_softmax_and_normalize() -> None:
    check(missrec.softmax(vec(0, math.log(3))), 0.25, 0.75)
    check(missrec.softmax(vec(1000, 1000)), 0.5, 0.5)
    check(missrec.normalize(vec(3, -4)), 0.6, -0.8)
    check(missrec.normalize(vec(0, 0)), 0, 0)


def test_gelu_is_exact() -> None:
    # P(Z < 1) = 0.8413447461 for a standard normal Z
    check(missrec.gelu(vec(-1, 0, 1)), -0.1586552539314571, 0, 0.8413447460685429)


# Transformer


def identity_attention(dim: int) -> missrec.Tensors:
    """Queries, keys and values are the inputs themselves."""
    eye = torch.eye(dim, dtype=torch.float64)
    return {
        "a.in_proj_weight": torch.cat([eye] * 3),
        "a.in_proj_bias": torch.zeros(3 * dim, dtype=torch.float64),
        "a.out_proj.weight": eye,
        "a.out_proj.bias": torch.zeros(dim, dtype=torch.float64),
    }


def test_attention_over_one_key_is_its_value() -> None:
    params = identity_attention(2)
    params["a.in_proj_weight"][4:] *= 10  # values are ten times the keys
    params["a.out_proj.bias"] = vec(0, 1)
    out = missrec.attention(params, "a", vec([5, 6], [-7, 8]), vec([3, 4]), heads=1)
    check(out, vec([30, 41], [30, 41]))


def test_attention_over_two_keys() -> None:
    # logits 0 and log 3: weights 1/4 and 3/4
    out = missrec.attention(identity_attention(1), "a", vec([1]), vec([0], [math.log(3)]), heads=1)
    check(out, vec([0.75 * math.log(3)]))


def test_attention_is_scaled_by_the_width_of_a_head() -> None:
    params, log3 = identity_attention(4), math.log(3)
    keys = vec([0, 0, 0, 0], [2 * log3, 0, 0, 0])
    # one head of width 4: logits 0 and 2 log 3 / 2, weights 1/4 and 3/4
    out = missrec.attention(params, "a", vec([1, 0, 0, 0]), keys, heads=1)
    check(out, vec([1.5 * log3, 0, 0, 0]))
    # heads of width 1: logits 0 and 2 log 3 in the first, weights 1/10 and 9/10
    out = missrec.attention(params, "a", vec([1, 0, 0, 0]), keys, heads=4)
    check(out, vec([1.8 * log3, 0, 0, 0]))


def random_stack(stack: str, layers: int, dim: int, inner: int) -> missrec.Tensors:
    """Parameters of an encoder or a decoder, named and shaped as those of `torch.nn`."""
    attentions = ["self_attn"] if stack == "encoder" else ["self_attn", "multihead_attn"]
    shapes: dict[str, tuple[int, ...]] = {"norm.weight": (dim,), "norm.bias": (dim,)}
    for layer in (f"layers.{index}" for index in range(layers)):
        for name in attentions:
            shapes[f"{layer}.{name}.in_proj_weight"] = (3 * dim, dim)
            shapes[f"{layer}.{name}.in_proj_bias"] = (3 * dim,)
            shapes[f"{layer}.{name}.out_proj.weight"] = (dim, dim)
            shapes[f"{layer}.{name}.out_proj.bias"] = (dim,)
        shapes[f"{layer}.linear1.weight"], shapes[f"{layer}.linear1.bias"] = (inner, dim), (inner,)
        shapes[f"{layer}.linear2.weight"], shapes[f"{layer}.linear2.bias"] = (dim, inner), (dim,)
        for norm in range(1, len(attentions) + 2):
            shapes[f"{layer}.norm{norm}.weight"] = shapes[f"{layer}.norm{norm}.bias"] = (dim,)
    return {
        f"{stack}.{name}": torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()
    }


def bare_stack(stack: str, dim: int) -> missrec.Tensors:
    """One layer whose projections are 0: a chain of LayerNorms of weight 1 and bias 0."""
    return {
        name: torch.ones_like(value) if "norm" in name and "weight" in name else value * 0
        for name, value in random_stack(stack, layers=1, dim=dim, inner=1).items()
    }


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_stacks_equal_those_of_torch(stack: str) -> None:
    torch.manual_seed(0)
    params = random_stack(stack, layers=2, dim=6, inner=5)
    options = {"n_heads": 3, "layer_norm_eps": 1e-3}
    layer_args: dict[str, Any] = {
        "dim_feedforward": 5,
        "dropout": 0.0,
        "activation": "gelu",
        "layer_norm_eps": 1e-3,
        "batch_first": True,
        "dtype": torch.float64,
    }
    norm = nn.LayerNorm(6, eps=1e-3, dtype=torch.float64)
    x, memory = torch.randn(1, 4, 6).double(), torch.randn(1, 3, 6).double()
    layers: nn.Module
    inputs: tuple[Tensor, ...]
    if stack == "encoder":
        layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 3, **layer_args), 2, norm, enable_nested_tensor=False
        )
        inputs, actual = (x,), missrec.encode(params, options, x[0])
    else:
        layers = nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 3, **layer_args), 2, norm)
        inputs, actual = (x, memory), missrec.decode(params, options, x[0], memory[0])
    layers.load_state_dict({name.removeprefix(f"{stack}."): v for name, v in params.items()})
    check(actual, layers(*inputs)[0].detach())


# What a sequence is read from


@pytest.mark.parametrize(
    ("fusion", "item_ids", "tokens", "expected"),
    [
        # eps 3 and variance 1 halve; position 1 adds (2, 0), the id of item 2 adds (0, 4)
        ("add", False, [vec(1, 0), vec(0, 1)], [[0.5, -0.5]]),  # (3, 1)
        ("add", True, [vec(1, 0), vec(0, 1)], [[-0.5, 0.5]]),  # (3, 5)
        ("contextual", False, [vec(0, 0), vec(0, 4)], [[0.5, -0.5], [-0.5, 0.5]]),  # (2,0), (2,4)
        ("contextual", True, [vec(0, 0), vec(4, 0)], [[-0.5, 0.5], [0.5, -0.5]]),  # (2,4), (6,4)
        ("contextual", True, [vec(4, 0)], [[0.5, -0.5]]),  # (6, 4): only the present one
        ("add", False, [], [[0.5, -0.5]]),  # (2, 0): position alone
        ("contextual", False, [], [[0.5, -0.5]]),
        ("contextual", True, [], [[-0.5, 0.5]]),  # (2, 4): position and id
    ],
)
def test_position_tokens(
    fusion: str, item_ids: bool, tokens: list[Tensor], expected: list[list[float]]
) -> None:
    params = {
        "position_embedding.weight": vec([9, 9], [2, 0]),
        "item_embedding.weight": vec([8, 8], [7, 7], [0, 4]),
        "input_norm.weight": vec(1, 1),
        "input_norm.bias": vec(0, 0),
    }
    options = {"seq_mm_fusion": fusion, "item_ids": item_ids, "layer_norm_eps": 3.0}
    check(missrec.position_tokens(params, options, tokens, item=2, position=1), vec(*expected))


def test_distinct_interests() -> None:
    options = {"modalities": ["text", "image"]}
    present = {
        "text": torch.tensor([False, True, True, False]),
        "image": torch.tensor([False, False, True, False]),
    }
    interests = {"text": torch.tensor([-1, 2, 0, -1]), "image": torch.tensor([-1, -1, 2, -1])}
    centroids = vec([1, 2], [3, 4], [5, 6])
    # item 1 has {2}, item 2 has {0, 2}, item 3 has nothing
    for items, expected in [
        ([1, 2, 1], [[1, 2], [5, 6]]),
        ([1, 3], [[5, 6]]),
        ([3, 3], [[0, 0]]),
    ]:
        found = missrec.distinct_interests(options, present, interests, centroids, items)
        check(found, vec(*expected))


@pytest.mark.parametrize(
    ("structure", "roles", "expected"),
    [
        # the last item's (2, -1, -1) / sqrt 2 and (-1, 2, -1) / sqrt 2
        ("encoder_decoder", "item_queries", [1, 1, -2]),
        ("no_decoder", "item_queries", [1, 1, -2]),
        ("no_interests", "item_queries", [1, 1, -2]),
        # the interests' (2, -1, -1) / sqrt 2 and (-1, -1, 2) / sqrt 2
        ("encoder_decoder", "interest_queries", [1, -2, 1]),
    ],
)
def test_sequence_embedding_is_a_mean(structure: str, roles: str, expected: list[float]) -> None:
    positions = [vec([0, 0, 1]), vec([1, 0, 0], [0, 1, 0])]
    params = bare_stack("encoder", dim=3) | bare_stack("decoder", dim=3)
    options: missrec.Options = {
        "structure": structure,
        "roles": roles,
        "n_heads": 1,
        "layer_norm_eps": 1e-12,
    }
    u, xi = missrec.read_sequence(params, options, positions, vec([5, 0, 0], [0, 0, 5]))
    check(u * math.sqrt(6), vec(*expected))
    rows = [] if structure == "no_interests" else [[2, -1, -1], [-1, -1, 2]]
    check(xi * math.sqrt(2), vec(*rows).reshape(-1, 3))


# Scores and losses

TWO_COSINES = [vec(6, 8), vec(0, -2)]  # 0.6 and 0 to u = (1, 0)


@pytest.mark.parametrize(
    ("fusion", "alpha", "expected"),
    [
        ("static", None, 0.3),
        ("dynamic_shared", vec(0)[0], 0.3),
        ("dynamic_shared", vec(math.log(3) / 0.6)[0], 0.45),  # weights 3/4 and 1/4
        ("dynamic_instance", vec(0, 9, -math.log(3) / 0.6), 0.15),  # item 2: weights 1/4 and 3/4
    ],
)
def test_fusion(fusion: str, alpha: Tensor | None, expected: float) -> None:
    params = {} if alpha is None else {"fusion.alpha": alpha}
    options = {"item_mm_fusion": fusion, "item_ids": False, "calibrate": False}
    check(missrec.score_item(params, options, vec(1, 0), TWO_COSINES, item=2), expected)
    # one modality has weight 1; none has the lowest possible cosine
    check(missrec.score_item(params, options, vec(1, 0), TWO_COSINES[:1], item=2), 0.6)
    check(missrec.score_item(params, options, vec(1, 0), [], item=2), -1)
    params, options = params | {"fusion.lacking": vec(0.5, -0.2)}, options | {"calibrate": True}
    check(missrec.score_item(params, options, vec(1, 0), TWO_COSINES[:1], 2, lacks=[1]), 0.4)


@pytest.mark.parametrize(
    ("tokens", "id_weight", "expected"),
    [
        (TWO_COSINES, 2.0, (0.8 + 2 * 0.3) / 3),
        (TWO_COSINES[:1], 2.0, (0.8 + 2 * 0.6) / 3),
        ([], 2.0, 0.8 / 3),
        (TWO_COSINES, 4.0, (0.8 + 4 * 0.3) / 5),
    ],
)
def test_score_with_ids(tokens: list[Tensor], id_weight: float, expected: float) -> None:
    params = {"item_embedding.weight": vec([0, 0], [4, 3])}
    options = {"item_mm_fusion": "static", "item_ids": True, "id_weight": id_weight}
    options["calibrate"] = False
    check(missrec.score_item(params, options, vec(1, 0), tokens, item=1), expected)


@pytest.mark.parametrize(("item", "expected"), [(1, 0), (4, 0.5), (7, 0.25), (2, 0.25)])
def test_bias_of_history(item: int, expected: float) -> None:
    params = {"input_norm.weight": vec(1), "history_bias.weight": vec(0.5, -0.25)}
    items = [4, 7, 2] if item != 7 else [2, 4, 7]  # the last has both numbers
    check(missrec.bias_of_history(params, {"history_bias": True}, items, item), expected)
    check(missrec.bias_of_history(params, {"history_bias": False}, items, item), 0)


def test_mean_cosine() -> None:
    sixty = vec([2, 0], [0.5, math.sqrt(0.75)])  # cos 60 degrees = 1/2
    check(missrec.mean_cosine([sixty]), 0.25)
    opposite = vec([1, 0], [-3, 0])  # squared cosine 1
    check(missrec.mean_cosine([sixty, vec([5, 5]), opposite]), 0.625)  # one interest: left out
    # three vectors: (1/4 + 1 + 1/4) twice over 6 ordered pairs
    check(missrec.mean_cosine([torch.cat([sixty, vec([-1, 0])])]), 0.5)
    check(missrec.mean_cosine([vec([5, 5])]), 0)


def test_released_regulariser() -> None:
    # P = 2; p = 1 * (1, 1) and 1/2 * (2, 0); (2 + 1) / 2
    check(missrec.released([vec([1, 0], [0, 1]), vec([2, 0])]), 1.5)
    check(missrec.released([vec([1, 0], [0, 1])]), 1)


# The whole model, worked by hand. All Transformer projections are 0, so that a stack is a chain of
# LayerNorms, which send (a, b) to (1, -1) where a > b and to (-1, 1) where a < b.
#
#   item   text token   image token   interests
#   1      (1, 0)       -             0
#   2      (0, 1)       (3, 4)        1, 2
#   3      -            -             -

TOY_PARAMS: missrec.Tensors = {
    **bare_stack("encoder", dim=2),
    **bare_stack("decoder", dim=2),
    "adapters.text.weight": vec([1, 0], [0, 1]),
    "adapters.text.bias": vec(0, 0),
    "adapters.image.weight": vec([3], [0]),
    "adapters.image.bias": vec(0, 4),
    "position_embedding.weight": vec([0.1, 0], [0, 0.1], [0, 0]),
    "input_norm.weight": vec(1, 1),
    "input_norm.bias": vec(0, 0),
}
TOY_OPTIONS: missrec.Options = {
    "modalities": ["text", "image"],
    "n_heads": 1,
    "layer_norm_eps": 1e-12,
    "temperature": 0.5,
    "gamma": 0.1,
    "id_weight": 2.0,
    "item_ids": False,
    "history_bias": False,
    "calibrate": False,
    "seq_mm_fusion": "add",
    "item_mm_fusion": "static",
    "counts": [0, 3, 10, 1, 30],
    "roles": "item_queries",
    "orthogonality": "mean_cosine",
    "interest_gradient": False,
    "interest_recency": False,
    "structure": "encoder_decoder",
}
NAN = math.nan
TOY_DATA: dict[str, Any] = {
    "features": {
        "text": vec([NAN, NAN], [1, 0], [0, 1], [NAN, NAN]),
        "image": vec([NAN], [NAN], [1], [NAN]),
    },
    "present": {
        "text": torch.tensor([False, True, True, False]),
        "image": torch.tensor([False, False, True, False]),
    },
    "interests": {"text": torch.tensor([-1, 0, 1, -1]), "image": torch.tensor([-1, -1, 2, -1])},
    "centroids": vec([2, 1], [0, 5], [7, 0]),
    "item_seq": torch.tensor([[1, 2, 0], [1, 0, 0], [3, 0, 0]]),
    "lengths": torch.tensor([2, 1, 1]),
}
# Cosines of u = (-1, 1) / sqrt 2 with items 1, 2 (mean of 1 and 1/5 times sqrt 1/2) and 3 (none),
# divided by the temperature; u = (1, -1) / sqrt 2 changes the sign where there is a modality.
RIGHT = [-math.inf, -2 * HALF, 1.2 * HALF, -2]
LEFT = [-math.inf, 2 * HALF, -1.2 * HALF, -2]
ZERO = [-math.inf, 0, 0, -2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # the last items are (3, 5) + position, (1, 0) + position and the position alone
        ({}, [RIGHT, LEFT, LEFT]),
        ({"structure": "no_decoder"}, [RIGHT, LEFT, LEFT]),
        ({"structure": "no_interests"}, [RIGHT, LEFT, LEFT]),
        # means over the interests: (1,-1), (-1,1), (1,-1); then (1,-1); then the zero vector
        ({"roles": "interest_queries"}, [LEFT, LEFT, ZERO]),
    ],
)
def test_toy_scores(changes: missrec.Options, expected: list[list[float]]) -> None:
    check(missrec.scores(TOY_PARAMS, TOY_OPTIONS | changes, **TOY_DATA), vec(*expected))


@pytest.mark.parametrize(
    ("changes", "regulariser"),
    [
        ({}, 1),  # the three interests of the first sequence are parallel
        # sums (1, -1), (1, -1), 0 with weights 1, 1/3, 1/3: (2 + 2/9 + 0) / 2
        ({"orthogonality": "released"}, 10 / 9),
        ({"orthogonality": "released", "structure": "no_decoder"}, 10 / 9),
        ({"orthogonality": "released", "structure": "no_interests"}, 0),
    ],
)
def test_toy_loss(changes: missrec.Options, regulariser: float) -> None:
    targets = torch.tensor([2, 1, 2])
    total = math.exp(2 * HALF) + math.exp(-1.2 * HALF) + math.exp(-2)  # of LEFT
    first = math.exp(-2 * HALF) + math.exp(1.2 * HALF) + math.exp(-2)  # of RIGHT
    negative_logs = [
        math.log(first) - 1.2 * HALF,
        math.log(total) - 2 * HALF,
        math.log(total) + 1.2 * HALF,
    ]
    actual = missrec.loss(TOY_PARAMS, TOY_OPTIONS | changes, **TOY_DATA, targets=targets)
    check(actual, sum(negative_logs) / 3 + 0.1 * regulariser)


def test_misspelt_choice_is_an_error() -> None:
    with pytest.raises(ValueError, match="roles='item_query'"):
        missrec.scores(TOY_PARAMS, TOY_OPTIONS | {"roles": "item_query"}, **TOY_DATA)


# Properties of the whole model, over the options


def random_case(options: missrec.Options) -> tuple[missrec.Tensors, dict[str, Any]]:
    """Parameters and data of 5 items, the last without any modality, in 4 dimensions."""
    torch.manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {
        "adapters.text.weight": (4, 3),
        "adapters.text.bias": (4,),
        "adapters.image.weight": (4, 2),
        "adapters.image.bias": (4,),
        "position_embedding.weight": (3, 4),
        "input_norm.weight": (4,),
        "input_norm.bias": (4,),
    }
    if options["item_ids"]:
        shapes["item_embedding.weight"] = (5, 4)
    shapes |= OF_FUSION[options["item_mm_fusion"]]
    params = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    params |= random_stack("encoder", 1, 4, 3)
    if options["structure"] == "encoder_decoder":
        params |= random_stack("decoder", 1, 4, 3)
    for value in params.values():
        value.requires_grad_()
    data = {
        "features": {"text": torch.randn(5, 3).double(), "image": torch.randn(5, 2).double()},
        "present": {
            "text": torch.tensor([False, True, True, True, False]),
            "image": torch.tensor([False, True, False, True, False]),
        },
        "interests": {
            "text": torch.tensor([-1, 0, 1, 0, -1]),
            "image": torch.tensor([-1, 2, -1, 3, -1]),
        },
        "centroids": torch.randn(4, 4, dtype=torch.float64, requires_grad=True),
        "item_seq": torch.tensor([[1, 2, 3], [3, 4, 0], [4, 0, 0]]),
        "lengths": torch.tensor([3, 2, 1]),
        "targets": torch.tensor([4, 2, 1]),
    }
    return params, data


OF_FUSION: dict[str, dict[str, tuple[int, ...]]] = {
    "static": {},
    "dynamic_shared": {"fusion.alpha": ()},
    "dynamic_instance": {"fusion.alpha": (5,)},
    "dynamic_shrunk": {"fusion.alpha": (), "fusion.own": (5,)},
    "gate": {"fusion.gate": (2, 4), "fusion.gate_bias": (2,)},
}
FUSIONS = itertools.cycle(missrec.CHOICES["item_mm_fusion"])
CASES = [
    TOY_OPTIONS
    | {
        "structure": structure,
        "roles": roles,
        "seq_mm_fusion": seq_mm_fusion,
        "item_ids": item_ids,
        "item_mm_fusion": next(FUSIONS),
        "n_heads": 2,
    }
    for structure, roles, seq_mm_fusion, item_ids in itertools.product(
        missrec.CHOICES["structure"],
        missrec.CHOICES["roles"],
        missrec.CHOICES["seq_mm_fusion"],
        (False, True),
    )
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: f"{o['structure']}-{o['roles']}")
def test_gradients_reach_parameters_and_ignore_what_is_absent(options: missrec.Options) -> None:
    params, data = random_case(options)
    missrec.loss(params, options, **data).backward()
    before: missrec.Tensors = {}
    for name, param in params.items():
        assert param.grad is not None, name
        assert param.grad.isfinite().all() and param.grad.any(), name
        before[name] = param.grad
    assert data["centroids"].grad is None

    for modality, features in data["features"].items():
        features[~data["present"][modality]] = NAN
    data["item_seq"][data["item_seq"] == 0] = 2  # beyond the lengths
    params = {name: param.detach().requires_grad_() for name, param in params.items()}
    missrec.loss(params, options, **data).backward()
    for name, param in params.items():
        assert param.grad is not None and torch.equal(param.grad, before[name]), name


@pytest.mark.parametrize("options", CASES, ids=lambda o: f"{o['structure']}-{o['roles']}")
def test_only_the_interests_of_a_sequence_matter_and_only_with_interests(
    options: missrec.Options,
) -> None:
    params, data = random_case(options)
    del data["targets"]
    before = missrec.scores(params, options, **data)[:, 1:]
    data["centroids"] = data["centroids"] + vec([0], [1], [0], [0]) * torch.randn(4)  # interest 1
    after = missrec.scores(params, options, **data)[:, 1:]
    assert torch.equal(before[1:], after[1:])  # item 2 is in the first sequence only
    assert torch.equal(before[0], after[0]) == (options["structure"] == "no_interests")


# Density peaks


def line(*numbers: float) -> Tensor:
    return vec(*([number] for number in numbers))


@pytest.mark.parametrize(
    ("num_clusters", "assignment", "centroids"),
    [
        (1, [0, 0, 0, 0, 0], [4.6]),
        (2, [0, 0, 0, 1, 1], [2 / 3, 10.5]),
        (3, [0, 0, 0, 1, 2], [2 / 3, 10, 11]),
        (4, [0, 0, 3, 1, 2], [0, 10, 11, 2]),
        (5, [0, 4, 3, 1, 2], [0, 10, 11, 2, 0]),  # the duplicate, a centre, keeps to itself
    ],
)
def test_five_points_on_a_line(
    num_clusters: int, assignment: list[int], centroids: list[float]
) -> None:
    """k = 1; densest first: token 0, its duplicate 1, then 3 before 4 (a tie), then 2.

    token         0     1    2         3        4
    mean squared  0     0    4         1        1
    delta         11    0    2         10       1
    rho * delta   11    0    2 e^-4    10 e^-1  e^-1
    """
    found, means = density_peaks(line(0, 0, 2, 10, 11), num_clusters, k=1)
    assert found.tolist() == assignment
    check(means, line(*centroids))


def test_a_token_that_counts_itself() -> None:
    # all mean squared distances are 0, so that rho is 1 and the order is that of the indices:
    # delta = 11, 0, 2, 8, 1 (compare the third centre with that of the test above)
    found, means = density_peaks(line(0, 0, 2, 10, 11), num_clusters=3, k=1, include_self=True)
    assert found.tolist() == [0, 0, 2, 1, 1]
    check(means, line(0, 10.5, 2))


@pytest.mark.parametrize(
    ("num_clusters", "assignment"),
    [
        (2, [0, 0, 0, 1, 1]),  # token 2 is halfway between the centres: the lower cluster
        (3, [0, 0, 2, 1, 1]),
        (4, [0, 3, 2, 1, 1]),  # rho * delta of tokens 1 and 4 is 0: the lower index
    ],
)
def test_ties(num_clusters: int, assignment: list[int]) -> None:
    """k = 1: mean squared 0, 0, 16, 0, 0; delta 8, 0, 4, 8, 0; rho * delta 8, 0, 4 e^-16, 8, 0."""
    found, _ = density_peaks(line(0, 0, 4, 8, 8), num_clusters, k=1)
    assert found.tolist() == assignment


@pytest.mark.parametrize(
    ("direction", "assignment", "centroids"),
    [
        # d_ij^2 as on the line: token 0 is the second centre
        ([1], [1, 0, 0, 0, 0, 0], [4.4, 0]),
        # half of it, since the dimension is 2: token 4; token 3 is halfway
        ([1, 0], [0, 0, 0, 0, 1, 1], [1.75, 7.5]),
        ([1, 1], [1, 0, 0, 0, 0, 0], [4.4, 0]),
    ],
)
def test_mean_over_the_neighbours_and_the_dimension(
    direction: list[float], assignment: list[int], centroids: list[float]
) -> None:
    """Tokens x times a direction, k = 2; token 1 is densest.

    x                           0       1       2       4       7       8
    mean squared on the line    2.5     1       2.5     6.5     5       8.5
    delta                       1       7       1       2       5       1
    rho * delta                 0.082   2.58    0.082   0.003   0.034   0.0002
    d_ij^2 halved               0.203   3.00    0.203   0.055   0.290   0.010
    """
    unit = vec(direction)
    found, means = density_peaks(line(0, 1, 2, 4, 7, 8) * unit, num_clusters=2, k=2)
    assert found.tolist() == assignment
    check(means, line(*centroids) * unit)


@pytest.mark.parametrize(("num_clusters", "k"), [(0, 1), (4, 1), (1, 0), (1, 3)])
def test_out_of_range(num_clusters: int, k: int) -> None:
    with pytest.raises(ValueError, match="out of range for 3 tokens"):
        density_peaks(line(0, 1, 2), num_clusters, k)
