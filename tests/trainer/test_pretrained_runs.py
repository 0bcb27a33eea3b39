"""Pre-trained on two shops, tuned on a third: whole runs by the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_missrec.cli import main
from recbole_missrec.registry import get_model
from recbole_missrec.trainer.checkpoint import load_checkpoint
from recbole_missrec.trainer.lora import without_lora
from recbole_missrec.trainer.trainer import HookedTrainer
from tests.shops import tiny_options, write_tiny_shop

PRETRAIN = str(Path(__file__).parents[2] / "props" / "pretrain.yaml")
TRAVELS = ("adapters", "encoder", "decoder", "input_norm", "position_embedding", "fusion")


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    for seed, name in enumerate(("one", "two", "three")):
        write_tiny_shop(folder, items=20 + seed, seed=seed, name=name)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(shops: Path, dataset: str, name: str, *words: str, **options: Any) -> dict[str, Any]:
    given = tiny_options(shops, **{"learning_rate": 0.01, "epochs": 2, **options})
    given |= {"checkpoint_dir": name, "dataset": dataset, "result_file": f"{name}.json"}
    assert main([*words, *(f"--{key}={value}" for key, value in given.items())]) == 0
    return json.loads(Path(f"{name}.json").read_text())


def weights(result: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_checkpoint(result["checkpoint"])["state_dict"]


@pytest.fixture(scope="module")
def pretrained(shops: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pretraining"))
        words = (f"--config_files={PRETRAIN}", "--ema_decay=0")
        result = run(shops, "one,two", "pretraining", *words)
        return result | {"checkpoint": str(Path(result["checkpoint"]).resolve())}


def test_a_pretraining_learns_without_ids(pretrained: dict[str, Any]) -> None:
    names = weights(pretrained)
    assert "item_embedding.weight" not in names and "history_bias.weight" not in names
    first, second = (epoch["loss"] for epoch in pretrained["curve"])
    assert second < first
    assert set(pretrained["domains"]["test"]) == {"one", "two"}
    card = json.loads(Path(pretrained["checkpoint"]).with_suffix(".json").read_text())
    assert card["format"] == "recbole-missrec model card 1"
    assert card["dataset"] == "one,two"
    assert card["data"]["encoders"] == {"text": "random text", "image": "random image"}
    assert card["config"]["softmax"] == "in_batch"
    assert card["test"] == pretrained["test"]


@pytest.mark.parametrize(
    ("tune", "tuned"),
    [
        ("adapters", ("adapters", "input_norm", "fusion", "item_embedding", "history_bias")),
        ("bias", ("adapters", "input_norm", "fusion", "item_embedding", "history_bias")),
        ("full", (*TRAVELS, "item_embedding", "history_bias")),
    ],
)
def test_what_is_tuned_changes_and_the_rest_stays(
    shops: Path, pretrained: dict[str, Any], tune: str, tuned: tuple[str, ...]
) -> None:
    words = (f"--pretrained={pretrained['checkpoint']}", f"--tune={tune}", "--ema_decay=0")
    result = run(shops, "three", tune, *words)
    before, after = weights(pretrained), weights(result)
    for name, value in after.items():
        part = name.split(".")[0]
        if name in before and part in TRAVELS and value.numel() > 1:
            same = torch.equal(before[name], value)
            moves = part in tuned or (tune == "bias" and name.endswith("bias"))
            assert same == (not moves), name
    share = result["parameters"]["trainable"] / result["parameters"]["total"]
    assert (share < 1) == (tune != "full")


def test_lora_is_tuned_evaluated_resumed_and_tuned_further(
    shops: Path, pretrained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"--pretrained={pretrained['checkpoint']}", "--tune=lora", "--lora_rank=2")
    result = run(shops, "three", "whole", *words)
    found, before = weights(result), weights(pretrained)
    for name, value in found.items():
        plain = name.replace(".base_layer", "")
        if plain.split(".")[0] in ("encoder", "decoder") and ".lora_" not in name:
            assert torch.equal(value, before[plain]), name
    assert all(value.any() for name, value in found.items() if ".lora_B" in name)
    card = json.loads(Path(result["checkpoint"]).with_suffix(".json").read_text())
    assert (card["config"]["tune"], card["config"]["lora_rank"]) == ("lora", 2)

    assert main(["evaluate", result["checkpoint"], "--result_file=again.json"]) == 0
    assert json.loads(Path("again.json").read_text())["test"] == result["test"]

    options = "--pretrained=" + result["checkpoint"], "--tune=none", "--item_ids=False"
    further = weights(run(shops, "three", "further", *options))
    assert without_lora(found).keys() == {*further, "item_embedding.weight"}
    for name, value in further.items():
        if name not in ("interest_ids", "centroids"):
            assert torch.equal(value, without_lora(found)[name]), name

    epoch, count = HookedTrainer._train_epoch, iter(range(2))

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        trained = epoch(*args, **kwargs)
        if next(count):
            raise KeyboardInterrupt
        return trained

    with monkeypatch.context() as patch:
        patch.setattr(HookedTrainer, "_train_epoch", interrupted)
        given = tiny_options(shops, learning_rate=0.01, epochs=2)
        given |= {"checkpoint_dir": "cut", "dataset": "three", "result_file": "cut.json"}
        assert main([*words, *(f"--{key}={value}" for key, value in given.items())]) == 130
    assert main([f"--resume={next(Path('cut').glob('*.resume'))}"]) == 0
    assert json.loads(Path("cut.json").read_text())["test"] == result["test"]


def test_the_last_model_is_kept_beside_the_best(shops: Path, pretrained: dict[str, Any]) -> None:
    best = Path(pretrained["checkpoint"])
    assert load_checkpoint(best.with_suffix(".last"))["epoch"] == pretrained["epochs"] - 1
    # a step so long that validation gets worse, and training is ended early
    words = ("--save_last=True", "--stopping_step=1")
    result = run(shops, "three", "early", *words, learning_rate=0.5, epochs=50)
    scores = [epoch["valid"]["ndcg@10"] for epoch in result["curve"]]
    assert result["best_epoch"] == max(range(len(scores)), key=lambda e: (scores[e], e))
    assert result["epochs"] == len(scores) == result["best_epoch"] + 3 < 50
    kept = load_checkpoint(result["checkpoint"])
    file = Path(result["checkpoint"]).with_suffix(".last")
    last = load_checkpoint(file)
    assert (kept["epoch"], last["epoch"]) == (result["best_epoch"], len(scores) - 1)
    assert not torch.equal(*(model["state_dict"]["input_norm.weight"] for model in (kept, last)))
    assert main(["evaluate", str(file), "--result_file=last.json"]) == 0
    found = json.loads(Path("last.json").read_text())["valid"]
    assert found == pytest.approx(result["curve"][-1]["valid"])


def test_batches_of_one_domain_are_resumed(
    shops: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"--config_files={PRETRAIN}", "--mix_domains=False")
    whole = run(shops, "one,two", "whole", *words, epochs=3)
    loss, batches = get_model("MISSRec").calculate_loss, iter(range(9))

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return loss(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(get_model("MISSRec"), "calculate_loss", interrupted)
        given = tiny_options(shops, learning_rate=0.01, epochs=3)
        given |= {"checkpoint_dir": "cut", "dataset": "one,two", "result_file": "cut.json"}
        assert main([*words, *(f"--{key}={value}" for key, value in given.items())]) == 130
    (state,) = Path("cut").glob("*.resume")
    assert load_checkpoint(state)["epoch"] > 0
    assert main([f"--resume={state}"]) == 0
    resumed = json.loads(Path("cut.json").read_text())
    losses = [[epoch["loss"] for epoch in result["curve"]] for result in (whole, resumed)]
    assert losses[0] == losses[1]
    assert (resumed["valid"], resumed["test"]) == (whole["valid"], whole["test"])

    given |= {"dataset": "one", "mix_domains": False}
    assert main([f"--{key}={value}" for key, value in given.items()]) == 2
    assert "--mix_domains=False: one is one data set; give several" in capsys.readouterr().err


def test_nothing_is_tuned(shops: Path, pretrained: dict[str, Any]) -> None:
    """Zero-shot: the weights are the checkpoint's, the interests are of the new catalogue."""
    words = (f"--pretrained={pretrained['checkpoint']}", "--tune=none", "--item_ids=False")
    result = run(shops, "three", "none", *words, "--history_bias=False")
    before, after = weights(pretrained), weights(result)
    for name, value in after.items():
        if name not in ("interest_ids", "centroids", "unseen"):
            assert torch.equal(before[name], value), name
    assert after["centroids"][:-1].any()
    assert result["epochs"] is None and result["parameters"]["trainable"] == 0
    assert main(["evaluate", result["checkpoint"], "--result_file=again.json"]) == 0
    assert json.loads(Path("again.json").read_text())["test"] == result["test"]


@pytest.mark.parametrize(("tune", "said"), [("adapters", True), ("full", False)])
def test_positions_that_stay_untrained_are_named(
    shops: Path,
    pretrained: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    tune: str,
    said: bool,
) -> None:
    words = (f"--pretrained={pretrained['checkpoint']}", f"--tune={tune}")
    run(shops, "three", tune, *words, state="warning", epochs=1, MAX_ITEM_LIST_LENGTH=80)
    line = f"positions beyond the 50 of the checkpoint stay random with --tune={tune}; give 50"
    assert (line in caplog.text) == said


def test_a_tuned_model_does_without_the_pretrained_file(
    shops: Path, pretrained: dict[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.pth"
    copy.write_bytes(Path(pretrained["checkpoint"]).read_bytes())
    result = run(shops, "three", "tuned", f"--pretrained={copy}", "--tune=adapters")
    copy.unlink()
    assert main(["evaluate", result["checkpoint"], "--result_file=again.json"]) == 0
    assert json.loads(Path("again.json").read_text())["test"] == result["test"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tune=none"], "--tune=none: there is nothing to evaluate without --pretrained"),
        (["--tune=none", "--pretrained=x.pth"], "add --item_ids=False"),
        (["--pretrained=absent.pth"], "absent.pth: cannot be read"),
        (["--pretrained={}", "--n_decoder_layers=2"], "n_decoder_layers is 1 there, 2 here"),
        (["--softmax=in_batch", "--item_mm_fusion=dynamic_instance"], "use dynamic_shared"),
        (["--softmax=in_batch", "--train_batch_size=1"], "--train_batch_size=1: with --softmax"),
        (
            ["--pretrained={}", "--tune=none", "--item_ids=False", "--missing=token"],
            "--tune=none: the tokens of --missing=token would stay random; use mask",
        ),
        (["--fresh_adapters=image"], "--fresh_adapters=image: must be a list"),
        (["--pretrained={}", "--fresh_adapters=[audio]"], "no modality audio"),
    ],
)
def test_bad_input(
    shops: Path,
    pretrained: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    given = {f"--{key}": str(value) for key, value in tiny_options(shops).items()}
    given |= dict(word.format(pretrained["checkpoint"]).split("=", 1) for word in words)
    assert main(["--dataset=three", *map("=".join, given.items())]) == 2
    assert message in capsys.readouterr().err
