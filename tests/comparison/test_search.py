"""The command ``search``: equal budgets, the same draws again, the choice as a props file."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_missrec.cli import main
from recbole_missrec.comparison.plan import plan_run
from recbole_missrec.comparison.search import _plan, search_space
from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError
from recbole_missrec.paths import props_dir
from tests.shops import write_tiny_shop

SPACES = sorted(path.stem for path in (props_dir() / "search").glob("*.yaml"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", SPACES)
def test_every_value_of_a_space_is_an_option_of_its_model(shop: Path, model: str) -> None:
    space = search_space(model)
    assert len(space) == 4
    for key, values in space.items():
        for value in values:
            config = Config(model, "tiny", config_dict={"data_path": str(shop), key: value})
            assert config[key] == value


def words(shop: Path, trials: int, *more: str) -> list[str]:
    given = ["--models=GRU4Rec", "--datasets=tiny", f"--trials={trials}", "--out=out"]
    return ["search", *given, f"--data_path={shop}", "--epochs=2", *more]


def planned() -> list[dict[str, Any]]:
    return json.loads(Path("out/plan.json").read_text())["runs"]


@pytest.mark.parametrize("model", SPACES)
def test_every_trial_is_another_run(shop: Path, model: str) -> None:
    options = {"data_path": str(shop)}
    sizes = [len(values) for values in search_space(model).values()]
    trials = _plan(model, "tiny", 2020, 1000, options)
    assert len({run.digest for run in trials}) == len(trials)
    # the defaults are one of the grid, or one beside it
    assert len(trials) - prod(sizes) in (0, 1)
    assert list(_plan(model, "tiny", 2020, 5, options).items()) == list(trials.items())[:5]


@pytest.mark.slow  # three interpreters start
def test_a_search_is_resumed_and_chooses_on_validation(
    shop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(shop, 2)) == 0
    first = planned()
    assert [run["label"] for run in first] == ["GRU4Rec#0", "GRU4Rec#1"]
    default = plan_run("GRU4Rec#0", "GRU4Rec", "tiny", 2020, (), dict(first[0]["options"]))
    assert first[0]["digest"] == default.digest and len(first[0]["options"]) == 2
    assert main(words(shop, 3)) == 0
    assert planned()[:2] == first  # more trials go on from fewer
    assert "3 runs, 2 of them done before" in capfd.readouterr().err

    results = [json.loads(Path(f"out/{run['digest']}.json").read_text()) for run in planned()]
    scores = [result["valid"]["ndcg@10"] for result in results]
    best = scores.index(max(scores))
    chosen = Path("out/props/GRU4Rec-tiny.yaml").read_text()
    assert chosen.startswith(
        f"# Best of 3 trials by ndcg@10 on validation, seed 2020: {max(scores):.4f}; "
        f"the defaults: {scores[0]:.4f}.\n"
    )
    values = yaml.safe_load(chosen) or {}
    changed = dict(planned()[best]["options"]).items() - dict(planned()[0]["options"]).items()
    assert values == {key: json.loads(value) for key, value in changed}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--models=Pop", "--datasets=tiny", "--out=o"], "has no space for 'Pop'; "),
        (["--models=SASRec", "--datasets=tiny", "--out=o", "--trials=0"], "--trials=0: must be"),
        (["--models=SASRec", "--datasets=tiny"], "--out is missing"),
        (
            ["--models=SASRec", "--datasets=tiny", "--out=o", "--metric=ndgc@10"],
            "--metric=ndgc@10: not computed with these metrics and topk; did you mean 'NDCG@10'?",
        ),
        (
            ["--models=SASRec", "--datasets=tiny", "--out=o", "--metric=ndcg@7"],
            "--metric=ndcg@7: not computed with these metrics and topk; did you mean 'NDCG@50'?",
        ),
        (
            ["--models=SASRec", "--datasets=tiny", "--out=o", "--result_file=r.json"],
            "--result_file=r.json: each run of a comparison has its own",
        ),
    ],
)
def test_refusals(
    shop: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", *given, f"--data_path={shop}"]) == 2
    assert message in capsys.readouterr().err


def test_a_space_of_one_model_is_not_that_of_another() -> None:
    with pytest.raises(UsageError, match="did you mean 'SASRec'"):
        search_space("SASRek")
