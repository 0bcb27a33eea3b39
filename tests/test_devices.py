"""Every device here gives the CPU's results: run on a machine with a GPU, by ``make test-gpu``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.trainer.checkpoint import load_checkpoint
from tests.shops import tiny_words, write_tiny_shop
from tests.tiny_models import random_batch, tiny_model

SCRIPT = Path(__file__).parents[1] / "run_recbole_missrec.py"
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
VARIANTS: list[dict[str, Any]] = [
    {},
    {"seq_mm_fusion": "contextual", "item_mm_fusion": "dynamic_instance"},
    {"structure": "no_decoder", "orthogonality": "released"},
    {"structure": "no_interests", "item_ids": False},
    {"roles": "interest_queries", "item_mm_fusion": "static"},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def outcome(shop: Path, device: str, options: dict[str, Any]) -> dict[str, Tensor]:
    """Loss, scores and gradients of one batch, on the CPU again."""
    model = tiny_model(shop, **options).to(device)
    batch = random_batch(model).to(torch.device(device))
    loss = model.train().calculate_loss(batch)
    loss.backward()
    results = {"loss": loss, "scores": model.eval().full_sort_predict(batch)}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            results[name] = parameter.grad
    return {name: value.detach().cpu() for name, value in results.items()}


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_loss_scores_and_gradients(shop: Path, device: str, options: dict[str, Any]) -> None:
    expected = outcome(shop, "cpu", options)
    result = outcome(shop, device, options)
    assert result.keys() == expected.keys() and len(result) > 20
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("index_seed", [None, 1])
@pytest.mark.parametrize("device", DEVICES)
def test_interests(device: str, index_seed: int | None) -> None:
    points = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    points[200:220] = points[:20]  # items that look alike
    expected = density_peaks(points, 40, 20)
    # twelve lists, all of which are looked into: exact, too
    assignment, centroids = density_peaks(points.to(device), 40, 20, index_seed=index_seed)
    assert torch.equal(assignment.cpu(), expected[0])
    torch.testing.assert_close(centroids.cpu(), expected[1], rtol=1e-6, atol=1e-6)


@pytest.mark.slow  # two interpreters start
@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_run(shop: Path, tmp_path: Path, device: str) -> None:
    # Gradient descent, not Adam, which turns rounding of a zero gradient into a whole step.
    options: dict[str, Any] = {"epochs": 3, "dropout": 0.0, "learner": "sgd", "learning_rate": 0.1}

    def run(gpu_id: str) -> dict[str, Any]:
        result_file = tmp_path / f"{gpu_id or 'cpu'}.json"
        given = {**options, "gpu_id": gpu_id, "result_file": result_file}
        words = tiny_words(shop, **given, checkpoint_dir=tmp_path)
        subprocess.run([sys.executable, SCRIPT, *words], check=True, cwd=tmp_path)
        return json.loads(result_file.read_text())

    expected, result = run(""), run("0" if device == "cuda" else "")
    assert result["epochs"] == expected["epochs"] == 3
    state, expected_state = (
        load_checkpoint(one["checkpoint"])["state_dict"] for one in (result, expected)
    )
    for name, value in expected_state.items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-4, msg=name)
