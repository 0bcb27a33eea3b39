"""A training step of a packed batch never makes a GPU wait for the host, seen on a CPU."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_missrec.model import missrec, objectives
from tests.shops import write_tiny_shop
from tests.tiny_models import random_batch, tiny_model

# operations whose result's values or shape the host must know
WAITING_OPS = {
    "_local_scalar_dense",
    "_unique",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
    "unique_dim_consecutive",
}
WAITING_METHODS = (
    "__bool__",
    "__float__",
    "__index__",
    "__int__",
    "cpu",
    "item",
    "numpy",
    "tolist",
)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"seq_mm_fusion": "contextual"},
    {"structure": "no_decoder"},
    {"structure": "no_decoder", "seq_mm_fusion": "contextual"},
    {"structure": "no_interests"},
    {"roles": "interest_queries"},
    {"n_encoder_layers": 2, "n_decoder_layers": 2, "orthogonality": "released"},
    {"item_ids": False, "item_mm_fusion": "dynamic_instance"},
    {"item_mm_fusion": "static"},
    {"softmax": "sampled", "softmax_samples": 5},
]


class Watch(TorchDispatchMode):
    """Notes the operations that wait, and the number of all."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.count += 1
        if name in WAITING_OPS or func is torch.ops.aten.repeat_interleave.Tensor:
            self.waiting.append(name)
        if name.strip("_").removeprefix("unsafe_").startswith("index") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            for part in args[1:]
            if isinstance(part, list | tuple)
            for index in part
        ):
            self.waiting.append(f"{name} by a mask")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the methods of tensors that were called and hand values to the host."""
    called: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(Tensor, name)

        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(self, *args, **kwargs)

        return method

    with monkeypatch.context() as patch:
        for name in WAITING_METHODS:
            patch.setattr(Tensor, name, counted(name))
        yield called


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def name_of(value: Any) -> str:
    return (
        "-".join(map(str, value.values())) or "default" if isinstance(value, dict) else str(value)
    )


@pytest.mark.parametrize("chunk", [10**6, 7], ids=["whole", "chunked"])
@pytest.mark.parametrize("options", VARIANTS, ids=name_of)
def test_a_step_calls_nothing_that_waits(
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    methods: list[str],
    options: dict[str, Any],
    chunk: int,
) -> None:
    monkeypatch.setattr(missrec, "CHUNK", chunk)
    monkeypatch.setattr(objectives, "CHUNK", chunk)
    model = tiny_model(shop, dropout=0.3, **options)
    batch = model.training_packer(0)(None, random_batch(model))
    methods.clear()
    torch.autograd.set_detect_anomaly(False)  # RecBole's sine.py turns it on for every model
    with Watch() as watch:
        model.calculate_loss(batch).backward()
    called = list(methods)
    assert watch.count > 100
    assert watch.waiting == []
    assert called == []
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(gradients) > 20


@pytest.mark.parametrize("chunk", [10**6, 7], ids=["whole", "chunked"])
@pytest.mark.parametrize("options", VARIANTS, ids=name_of)
def test_a_step_needs_no_values(
    shop: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], chunk: int
) -> None:
    # tensors of the device "meta" have none: what would copy them to the CPU is an error
    monkeypatch.setattr(missrec, "CHUNK", chunk)
    monkeypatch.setattr(objectives, "CHUNK", chunk)
    model = tiny_model(shop, dropout=0.3, **options)
    batch = model.training_packer(0)(None, random_batch(model)).to("meta")
    model.to("meta")
    loss = model.calculate_loss(batch)
    loss.backward()
    assert (loss.shape, loss.device.type) == ((), "meta")
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(gradients) > 20
    assert {gradient.device.type for gradient in gradients} == {"meta"}


@pytest.mark.parametrize("options", VARIANTS, ids=name_of)
def test_a_prediction_needs_no_values(shop: Path, options: dict[str, Any]) -> None:
    model = tiny_model(shop, **options).eval()
    batch = model.training_packer(0)(None, random_batch(model)).to("meta")
    model.to("meta")
    scores = model.full_sort_predict(batch)
    assert (scores.shape, scores.device.type) == ((9, model.n_items), "meta")


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.index_put_((x > 0,), torch.tensor(1.0)),
        lambda x: x.unique(),
        lambda x: x.unique_consecutive(),
        lambda x: torch.equal(x, x + 1),
        lambda x: x.long().bincount(),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.cpu(),
        lambda x: [0, 1, 2][x.long()[0]],
    ],
)
def test_what_waits_is_noticed(methods: list[str], wait: Callable[[Tensor], Any]) -> None:
    x = torch.tensor([1.0, 0.0, 2.0])
    methods.clear()
    with Watch() as watch:
        wait(x)
    called = list(methods)
    assert watch.waiting or called


def test_what_does_not_wait_is_not_noticed(methods: list[str]) -> None:
    x = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)
    methods.clear()
    with Watch() as watch:
        y = x[torch.tensor([2, 0, 0])].masked_fill(x > 0, 3.0) * torch.where(x > 0, x, 0)
        y.index_add(0, torch.tensor([0, 1, 1]), x).sum().backward()
    called = list(methods)
    assert watch.count > 5
    assert (watch.waiting, called) == ([], [])
