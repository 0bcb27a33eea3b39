"""Whole runs on the tiny shop: resumed, evaluated, repeated, frozen, diverged."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_missrec.cli import main
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.model import initial, missrec
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.preparation import prepare
from recbole_missrec.quick_start import restore, stored_config
from recbole_missrec.registry import get_model
from recbole_missrec.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.shops import read_histories, tiny_config, tiny_words, write_tiny_shop

SCRIPT = str(Path(__file__).parents[2] / "run_recbole_missrec.py")
KEYS = {
    "model", "dataset", "seed", "valid", "test", "best_epoch", "epochs", "seconds_per_epoch",
    "peak_memory_mib", "parameters", "interests", "checkpoint", "data", "versions", "config",
    "beyond_accuracy", "counts", "curve", "machine", "domains", "discoveries",
}  # fmt: skip
METRICS = ["recall@10", "recall@50", "ndcg@10", "ndcg@50", "mrr@10", "mrr@50"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


def run(shop: Path, model: str = "MISSRec", **options: Any) -> dict[str, Any]:
    """Train by the command line, with a folder of checkpoints of its own; the result file."""
    given = {"epochs": 1, "checkpoint_dir": "saved", "result_file": "result.json", **options}
    assert main(tiny_words(shop, model, **given)) == 0
    return json.loads(Path(given["result_file"]).read_text())


def figures(result: dict[str, Any]) -> tuple[Any, ...]:
    curve = [{**epoch, "seconds": None} for epoch in result["curve"]]
    measured = {"seconds": None, "peak_memory_mib": None}
    discoveries = [{**one, **measured} for one in result["discoveries"]]
    return result["valid"], result["test"], result["best_epoch"], curve, discoveries


def test_a_checkpoint_without_validation_has_the_interests_of_its_weights(shop: Path) -> None:
    result = run(shop, interest_gradient=True, eval_step=0, learning_rate=0.01)
    stored = load_checkpoint(result["checkpoint"])
    model = restore(result["checkpoint"], stored, {})[0].model
    model.load_state_dict(stored["state_dict"])
    means = model.train().interest_means().detach()
    torch.testing.assert_close(stored["state_dict"]["centroids"], means)


def test_the_health_of_each_discovery_is_reported(shop: Path) -> None:
    result = run(shop, epochs=5, interest_every=2, learning_rate=0.01)
    found = result["discoveries"]
    assert [one["epoch"] for one in found] == [0, 2, 4]
    assert found[-1] == {"epoch": 4, **result["interests"]}
    assert found[0]["changed_share"] == 1 > found[1]["changed_share"]
    assert 100 < found[0]["peak_memory_mib"] <= result["peak_memory_mib"]
    files = Path("log_tensorboard").rglob("events.out.tfevents.*")  # one of options beside it
    boards = [EventAccumulator(str(path)).Reload() for path in files]
    (board,) = (board for board in boards if "Interests/used" in board.Tags()["scalars"])
    for key in result["interests"]:
        points = board.Scalars(f"Interests/{key}")
        assert [point.step for point in points] == [0, 2, 4]
        assert [point.value for point in points] == pytest.approx([one[key] for one in found])


# --- resuming ------------------------------------------------------------------------------------


def wait_for_epoch(folder: Path, epoch: int, process: subprocess.Popen[bytes]) -> Path:
    """The state that a run has written before an epoch, or before a later one."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        for path in folder.glob("*.resume"):
            if load_checkpoint(path)["epoch"] >= epoch:
                return path
        time.sleep(0.02)
    raise AssertionError(f"no state of epoch {epoch}; exit status {process.poll()}")


@pytest.mark.slow  # two interpreters start
def test_a_killed_run_goes_on_to_the_same_figures(shop: Path) -> None:
    # Small batches make an epoch long enough to be killed in the middle of it.
    options: dict[str, Any] = {"epochs": 4, "train_batch_size": 4, "learning_rate": 0.01}

    def start(name: str) -> subprocess.Popen[bytes]:
        words = tiny_words(shop, **options, checkpoint_dir=name, result_file=f"{name}.json")
        return subprocess.Popen([sys.executable, SCRIPT, *words], stderr=subprocess.PIPE)

    whole, killed = start("whole"), start("killed")
    state = wait_for_epoch(Path("killed"), 2, killed)
    killed.send_signal(signal.SIGKILL)
    _, errors = whole.communicate(timeout=120)
    assert (whole.returncode, killed.wait()) == (0, -signal.SIGKILL), errors
    assert not Path("killed.json").exists()

    assert main([f"--resume={state}"]) == 0
    expected, resumed = (
        json.loads(Path(f"{name}.json").read_text()) for name in ("whole", "killed")
    )
    assert figures(resumed) == figures(expected)
    assert expected["epochs"] == 4
    weights, resumed_weights = (
        load_checkpoint(result["checkpoint"])["state_dict"] for result in (expected, resumed)
    )
    for name, value in weights.items():
        assert torch.equal(resumed_weights[name], value), name
    assert list(Path().glob("*/*.resume")) == []  # a finished run leaves none


def interrupt(
    patch: pytest.MonkeyPatch, model_class: type, after: int, error: type[BaseException]
) -> None:
    """Have a model's training raise an error after a number of batches."""
    original: Callable[..., Any] = model_class.calculate_loss  # type: ignore[attr-defined]
    batches = iter(range(after))

    def calculate_loss(self: Any, interaction: Any) -> Any:
        if next(batches, None) is None:
            raise error
        return original(self, interaction)

    patch.setattr(model_class, "calculate_loss", calculate_loss)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("SASRec", {"ema_decay": 0.9}),
        ("SASRec", {"loss_type": "BPR", "learner": "adagrad"}),
        ("MISSRec", {"interest_every": 3, "interest_method": "kmeans", "stopping_step": 1}),
        ("MISSRec", {"interest_method": "kmeans", "interest_warm_start": True}),
        ("MISSRec", {"interest_method": "auto", "interest_moved": 0.1}),
        ("VQRec", {}),
        # of which RecBole computes two
        (
            "SASRec",
            {"metrics": ["Recall", "NDCG", "MRR", "ShannonEntropy", "GAUC"], "topk": [5, 10]},
        ),
    ],
    ids=["SASRec", "SASRec-BPR", "MISSRec", "MISSRec-warm", "MISSRec-moved", "VQRec", "others"],
)
def test_an_interrupted_run_goes_on_to_the_same_figures(
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    options: dict[str, Any],
) -> None:
    options = {"epochs": 4, "learning_rate": 0.01, **options}
    expected = run(shop, model, **options, checkpoint_dir="whole")
    per_epoch = math.ceil(
        sum(max(0, len(items) - 3) for items in read_histories(shop).values()) / 32
    )
    with monkeypatch.context() as patch:
        interrupt(patch, get_model(model), per_epoch + 2, KeyboardInterrupt)
        words = tiny_words(shop, model, **options, checkpoint_dir="cut", result_file="cut.json")
        assert main(words) == 130
    assert "interrupted; go on with --resume=FILE" in capsys.readouterr().err
    Path("cut").rename("moved")
    (state,) = Path("moved").glob("*.resume")
    assert load_checkpoint(state)["epoch"] == 1
    assert main([f"--resume={state}", "--checkpoint_dir=moved"]) == 0
    assert figures(json.loads(Path("cut.json").read_text())) == figures(expected)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("RecVAE", {}),  # of two optimizers
        ("RecVAE", {"ema_decay": 0.5}),
        ("MultiVAE", {}),  # it counts its steps
        ("LDiffRec", {}),  # it keeps the losses of its steps, too
    ],
)
def test_what_a_model_of_recbole_keeps_beside_its_weights_is_resumed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, model: str, options: dict[str, Any]
) -> None:
    options = {"epochs": 3, "learning_rate": 0.01, **options}
    expected = run(shop, model, **options, checkpoint_dir="whole")
    assert len({epoch["valid"]["ndcg@10"] for epoch in expected["curve"]}) == 3
    original = get_model(model).calculate_loss

    def calculate_loss(self: Any, *given: Any, **more: Any) -> Any:
        (state,) = Path("cut").glob("*.resume")
        if load_checkpoint(state)["epoch"] == 2:
            raise KeyboardInterrupt
        return original(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(get_model(model), "calculate_loss", calculate_loss)
        words = tiny_words(shop, model, **options, checkpoint_dir="cut", result_file="cut.json")
        assert main(words) == 130
    (state,) = Path("cut").glob("*.resume")
    assert main([f"--resume={state}"]) == 0
    assert figures(json.loads(Path("cut.json").read_text())) == figures(expected)


def test_what_a_resumed_run_refuses(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, MISSRec, 2, KeyboardInterrupt)
        assert main(tiny_words(shop, epochs=2, checkpoint_dir="cut")) == 130
    (state,) = Path("cut").glob("*.resume")
    before = state.read_bytes()
    other = write_tiny_shop(Path("other"), seed=1)
    larger = write_tiny_shop(Path("larger"), items=26)
    for word, message in (
        (f"--data_path={other}", f"{state}: trained on other items, interactions or features"),
        (f"--data_path={larger}", f"{state}: trained on other items, interactions or features"),
        ("--epochs=0", "--epochs=0: the run has done 0 epochs; give more"),
        ("--hidden_size=16", "--hidden_size=16: the checkpoint keeps its own; leave it out"),
        ("--learner=sgd", "--learner=sgd: the checkpoint keeps its own; leave it out"),
        ("--learning_rate=1", "--learning_rate=1: the checkpoint keeps its own; leave it out"),
        ("--model=SASRec", "--model=SASRec: a checkpoint has its own; leave it out"),
    ):
        capsys.readouterr()
        assert main([f"--resume={state}", word]) == 2
        assert capsys.readouterr().err == f"recbole-missrec: {message}\n"
    assert state.read_bytes() == before
    content = load_checkpoint(state)
    del content["config"]["unseen_bias"]  # the file of a run from before there was the option
    save_checkpoint("old.resume", content)
    capsys.readouterr()
    assert main(["--resume=old.resume", "--unseen_bias=0.5"]) == 2
    assert "--unseen_bias=0.5: the checkpoint keeps its own" in capsys.readouterr().err
    assert main([f"--resume={state}", "--epochs=3", "--result_file=more.json"]) == 0
    assert json.loads(Path("more.json").read_text())["epochs"] == 3


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["MISSRec", "UniSRec", "SASRec", "Pop"])
def test_evaluate_gives_the_figures_of_training(shop: Path, model: str) -> None:
    trained = run(shop, model, epochs=3, learning_rate=0.01, per_user="train.parquet")
    kept = Path("result.json").read_bytes()
    words = ["evaluate", trained["checkpoint"]]
    assert main([*words, "--result_file=again.json", "--per_user=again.parquet"]) == 0
    again = json.loads(Path("again.json").read_text())
    assert again["valid"] == trained["valid"]
    assert again["test"] == trained["test"]
    assert again["best_epoch"] == trained["best_epoch"]
    assert read_per_user("again.parquet").equals(read_per_user("train.parquet"))
    assert Path("result.json").read_bytes() == kept  # the training's outputs are not its own
    assert main([*words, "--no-build"]) == 0
    assert Path("result.json").read_bytes() == kept


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_the_same_command_gives_the_same_figures(shop: Path, model: str) -> None:
    first = run(shop, model, epochs=2, checkpoint_dir="first")
    torch.rand(5)  # what came before must not matter
    again = run(shop, model, epochs=2, checkpoint_dir="again")
    other_seed = run(shop, model, epochs=2, checkpoint_dir="other", seed=1)
    assert figures(again) == figures(first)
    if model != "Pop":
        assert other_seed["test"] != first["test"]


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_result_file(shop: Path, model: str) -> None:
    result = run(shop, model, epochs=2, seed=7)
    assert result.keys() == KEYS
    assert (result["model"], result["dataset"], result["seed"]) == (model, "tiny", 7)
    assert list(result["valid"]) == list(result["test"]) == METRICS
    assert result["epochs"] == (1 if model == "Pop" else 2)
    assert result["best_epoch"] in range(result["epochs"])
    assert result["seconds_per_epoch"] > 0
    assert [epoch["epoch"] for epoch in result["curve"]] == list(range(result["epochs"]))
    best = result["curve"][result["best_epoch"]]
    assert best["valid"] == result["valid"] and best["seconds"] > 0
    assert (best["loss"] > 0) == (model != "Pop")
    assert result["peak_memory_mib"] > 50
    assert result["parameters"]["trainable"] == result["parameters"]["total"] > 0
    assert Path(result["checkpoint"]).is_file()
    histories = read_histories(shop)
    assert result["counts"] == {
        "users": len(histories),
        "items": len({item for items in histories.values() for item in items}),
        "interactions": sum(map(len, histories.values())),
    }
    assert result["config"]["train_batch_size"] == 32
    assert {"python", "recbole-missrec", "recbole", "torch", "numpy"} <= result["versions"].keys()
    assert result["versions"]["recbole"] == "1.2.1"
    assert list(Path("saved").glob("*.resume")) == []
    if model == "MISSRec":
        # 22 items have text, 22 an image: K = ceil(0.3 * 44)
        assert result["interests"]["clusters"] == 14
        assert 1 <= result["interests"]["used"] <= 14
        assert result["data"]["features"].keys() == {"text", "image"}
    else:
        assert result["interests"] is None


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_per_user_file_holds_each_users_last_item(shop: Path, model: str) -> None:
    result = run(shop, model, epochs=2, per_user="users.parquet", seed=3)
    frame = read_per_user("users.parquet")
    assert frame.attrs == {"model": model, "dataset": "tiny", "seed": "3"}
    last = {user: items[-1] for user, items in read_histories(shop).items()}
    assert dict(zip(frame["user"], frame["target"], strict=True)) == last
    assert len(frame) == len(last)
    assert (frame["better"] + frame["equal"]).max() < 24
    hit, gain = [], []
    for better, equal in zip(frame["better"], frame["equal"], strict=True):
        ranks = range(better + 1, better + equal + 2)
        hit.append(sum(rank <= 10 for rank in ranks) / len(ranks))
        gain.append(sum(1 / math.log2(1 + rank) for rank in ranks if rank <= 10) / len(ranks))
    assert result["test"]["recall@10"] == pytest.approx(sum(hit) / len(hit), abs=1e-12)
    assert result["test"]["ndcg@10"] == pytest.approx(sum(gain) / len(gain), abs=1e-12)


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "Pop"])
def test_per_user_file_of_sampled_candidates_has_each_user_once(shop: Path, model: str) -> None:
    run(shop, model, epochs=1, per_user="users.parquet", eval_args="{mode: uni5}")
    frame = read_per_user("users.parquet")
    last = {user: items[-1] for user, items in read_histories(shop).items()}
    assert dict(zip(frame["user"], frame["target"], strict=True)) == last
    assert (frame["better"] + frame["equal"]).max() <= 5


def test_epochs_without_validation_are_logged_too(
    shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(shop, "SASRec", epochs=3, eval_step=2, state="info")
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["0", "1", "2"]
    assert ["valid" in line for line in lines] == [False, True, False]


def test_weights_that_are_not_numbers(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    normal_weights = initial.normal_weights

    def broken(model: MISSRec, std: float, spared: torch.nn.Module) -> None:
        normal_weights(model, std, spared)
        torch.nn.init.constant_(model.position_embedding.weight, torch.nan)

    monkeypatch.setattr(missrec, "normal_weights", broken)
    capsys.readouterr()
    assert main(tiny_words(shop, epochs=1, checkpoint_dir="a")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "recbole-missrec: epoch 0, batch 0 (from 0): the training loss is not a number; try a "
        "lower --learning_rate; no checkpoint has been kept yet"
    )
    assert main(tiny_words(shop, epochs=0, checkpoint_dir="b")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("recbole-missrec: scores contain NaN: the model has diverged")


# --- interests and freezing ----------------------------------------------------------------------


def test_interests_are_restored_not_recomputed(shop: Path) -> None:
    # The last discovery is before the last epoch, so one after it would find other centroids.
    checkpoint = run(shop, epochs=3, learning_rate=0.05)["checkpoint"]
    stored = load_checkpoint(checkpoint)
    trainer, (_, _, test_data) = prepare(stored_config(stored, {}))
    trainer.evaluate(test_data, model_file=checkpoint)
    model = trainer.model
    assert torch.equal(model.centroids, stored["state_dict"]["centroids"])
    assert torch.equal(model.interest_ids, stored["state_dict"]["interest_ids"])
    model.discover_interests(0)
    assert not torch.equal(model.centroids, stored["state_dict"]["centroids"])


def test_interests_change_when_they_are_due(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    original = MISSRec.train

    def train(self: MISSRec, mode: bool = True) -> MISSRec:
        if mode:  # RecBole switches to training at the start of each epoch
            seen.append(self.centroids.clone())
        return original(self, mode)

    monkeypatch.setattr(MISSRec, "train", train)
    run(shop, epochs=5, interest_every=2, learning_rate=0.05)
    same = [torch.equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert same == [True, False, True, False]


def test_interests_are_kept_until_tokens_have_moved(shop: Path) -> None:
    trainer, _ = prepare(tiny_config(shop, interest_moved=0.5, interest_method="dpc_knn_ivf"))
    model = trainer.model
    model.discover_interests(0)
    first, health = model.centroids.clone(), model.health
    for adapter in model.adapters.values():
        adapter.weight.data *= 1.4
        adapter.bias.data *= 1.4
    model.discover_interests(1)
    assert torch.equal(model.centroids, first) and model.health is health
    for adapter in model.adapters.values():
        adapter.weight.data *= 1.1
        adapter.bias.data *= 1.1
    model.discover_interests(2)
    assert model.health["moved"] == pytest.approx(0.54)
    assert not torch.equal(model.centroids, first)


def test_adapter_tuning_leaves_the_rest_bit_for_bit(
    shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, _ = prepare(tiny_config(shop, tune="adapters", epochs=2))
    assert "--tune=adapters: without --pretrained=FILE what is not tuned stays" in caplog.text
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainable = {n for n, value in trainer.model.named_parameters() if value.requires_grad}
    result = run(shop, tune="adapters", epochs=2)
    after = load_checkpoint(result["checkpoint"])["state_dict"]
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed == trainable
    assert {name.split(".")[0] for name in before.keys() - changed} == {
        "encoder",
        "decoder",
        "position_embedding",
    }
    assert result["parameters"]["trainable"] == sum(before[name].numel() for name in trainable)


# --- everything trains ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["GRU4Rec", "BERT4Rec", "SASRec", "BPR", "TransRec", "Pop"])
def test_models_of_recbole(shop: Path, model: str) -> None:
    result = run(shop, model)
    assert list(result["test"]) == METRICS
    assert result["test"]["recall@50"] == 1  # 24 candidates
    assert 0 < result["test"]["recall@10"] < 1


@pytest.mark.parametrize(
    "options",
    [
        {"interest_method": "kmeans"},
        {"structure": "no_decoder"},
        {"structure": "no_interests"},
        {"seq_mm_fusion": "contextual"},
        {"item_mm_fusion": "dynamic_instance"},
        {"roles": "interest_queries"},
        {"tune": "adapters"},
        {"modalities": ["image"], "item_ids": False},
        {"enable_amp": True},
        {"enable_amp": True, "seq_mm_fusion": "contextual", "item_mm_fusion": "static"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_variants_of_missrec(shop: Path, options: dict[str, Any]) -> None:
    result = run(shop, **options)
    assert {key: result["config"][key] for key in options} == options
    assert result["test"]["recall@50"] == 1
    assert 0 < result["test"]["recall@10"] < 1
    weights = load_checkpoint(result["checkpoint"])["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


def test_importing_recboles_models_leaves_autograd_as_it_is() -> None:
    torch.autograd.set_detect_anomaly(True)  # as RecBole's sine.py does, whatever the model
    get_model("SASRec")
    assert not torch.is_anomaly_enabled()


def test_rows_of_several_targets_have_no_rank(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"eval_args": "{split: {RS: [0.6, 0.2, 0.2]}}", "repeatable": False, "topk": 10}
    result = run(shop, "BPR", **options)
    assert list(result["test"]) == ["recall@10", "ndcg@10", "mrr@10"]
    capsys.readouterr()
    given = {**options, "per_user": "users.parquet", "checkpoint_dir": "none"}
    assert main(tiny_words(shop, "BPR", epochs=1, **given)) == 2
    assert not list(Path("none").glob("*"))  # nothing has been trained
    assert "--per_user: needs a ranking metric and one target a row" in capsys.readouterr().err
