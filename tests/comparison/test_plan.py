"""Which runs a comparison has, and what their digests depend on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from recbole_missrec.comparison.plan import Run, plan_run, plan_runs
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.paths import props_dir
from tests.shops import write_tiny_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


def plan(
    shop: Path, *models: str, seeds: Sequence[int] = (1,), options: dict[str, str] | None = None
) -> list[Run]:
    return plan_runs(models, ["tiny"], seeds, {"data_path": str(shop), **(options or {})})


def digest(shop: Path, model: str = "MISSRec", **options: str) -> str:
    (run,) = plan(shop, model, options=options)
    return run.digest


def test_every_model_with_every_seed(shop: Path) -> None:
    runs = plan(shop, "MISSRec", "MISSRec:text_only", "Pop", seeds=(1, 2))
    assert [(run.label, run.model, run.dataset, run.seed) for run in runs] == [
        ("MISSRec", "MISSRec", "tiny", 1),
        ("MISSRec", "MISSRec", "tiny", 2),
        ("MISSRec:text_only", "MISSRec", "tiny", 1),
        ("MISSRec:text_only", "MISSRec", "tiny", 2),
        ("Pop", "Pop", "tiny", 1),
        ("Pop", "Pop", "tiny", 2),
    ]
    assert len({run.digest for run in runs}) == 6
    assert runs[3].words == [
        "--model=MISSRec",
        "--dataset=tiny",
        "--seed=2",
        f"--config_files={props_dir() / 'ablation' / 'text_only.yaml'}",
        f"--data_path={shop}",
    ]


def test_all_ablations(shop: Path) -> None:
    labels = [run.label for run in plan(shop, "MISSRec:all")]
    names = sorted(path.stem for path in (props_dir() / "ablation").glob("*.yaml"))
    names.remove("additions")  # its defaults; of other models it is another run
    assert labels == ["MISSRec", *(f"MISSRec:{name}" for name in names)]
    of_unisrec = [run.label for run in plan(shop, "UniSRec", "UniSRec:additions")]
    assert of_unisrec == ["UniSRec", "UniSRec:additions"]
    assert "no_decoder" in names and len(names) >= 10


def test_a_file_of_options_is_a_model_of_its_own(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "wide.yaml"
    file.write_text("hidden_size: 40\n")
    (wide,) = plan(shop, f"SASRec:{file}")
    assert wide.label == "SASRec:wide"
    assert wide.digest != digest(shop, "SASRec")
    assert wide.digest == digest(shop, "SASRec", hidden_size="40")  # only what it says counts


def test_two_files_of_one_name_are_not_two_seeds_of_a_row(shop: Path, tmp_path: Path) -> None:
    for folder, size in (("a", 40), ("b", 48)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "wide.yaml").write_text(f"hidden_size: {size}\n")
    first, second = (f"SASRec:{tmp_path / folder / 'wide.yaml'}" for folder in "ab")
    with pytest.raises(UsageError, match=f"--models: SASRec:wide is {tmp_path}/a/wide.yaml and "):
        plan(shop, first, second)
    assert len(plan(shop, first, first)) == 1


def test_a_digest_changes_with_options_and_seed(shop: Path) -> None:
    others = [
        digest(shop, temperature="0.2"),
        digest(shop, modalities="[text]"),
        digest(shop, topk="[10]"),
        *(run.digest for run in plan(shop, "MISSRec", seeds=(1, 2))),
    ]
    assert len(set(others)) == 5 and others[3] == digest(shop)


def test_a_digest_does_not_change_with_places_and_batches_of_evaluation(
    shop: Path, tmp_path: Path
) -> None:
    elsewhere = write_tiny_shop(tmp_path)
    same = {
        digest(shop),
        digest(elsewhere),
        digest(shop, use_gpu="False"),
        digest(shop, eval_batch_size="7"),
        digest(shop, modalities="[text, image]"),  # the default
    }
    assert len(same) == 1


def test_a_digest_changes_with_interactions_and_features(shop: Path, tmp_path: Path) -> None:
    first = {model: digest(shop, model) for model in ("MISSRec", "SASRec")}
    features = tmp_path / "features"
    path = write_tiny_shop(features) / "tiny" / "tiny.text.safetensors"
    file = read_features(path)
    write_features(path, file.tokens, file.matrix.numpy() * 2, "random text")
    assert digest(features) != first["MISSRec"]
    assert digest(features, "SASRec") == first["SASRec"]  # which reads none
    assert digest(features, modalities="[image]") == digest(shop, modalities="[image]")
    (features / "tiny" / "augmented").mkdir()
    before = digest(features), digest(features, "SASRec")
    shutil.copy(shop / "tiny" / "tiny.text.safetensors", features / "tiny" / "augmented")
    assert digest(features) != before[0] and digest(features, "SASRec") == before[1]
    (features / "tiny" / "tiny.item").write_text("item_id:token\tclass:token\ni0\ttea\n")
    assert digest(features, "SASRec") != before[1]
    more = write_tiny_shop(tmp_path / "more")
    with (more / "tiny" / "tiny.inter").open("a") as interactions:
        interactions.write("u0\ti9\t99\n")
    assert digest(more) != first["MISSRec"] and digest(more, "SASRec") != first["SASRec"]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("MISSRek", {}, "--model=MISSRek: no such model; did you mean 'MISSRec'?"),
        ("MISSRec:no_decode", {}, "no ablation 'no_decode'; did you mean 'no_decoder'?"),
        ("MISSRec:absent.yaml", {}, "--config_files: cannot read absent.yaml"),
        ("MISSRec", {"temprature": "1"}, "--temprature: MISSRec has no such option"),
        ("MISSRec", {"seed": "3"}, "--seed=3: each run of a comparison has its own"),
        ("MISSRec", {"result_file": "r.json"}, "--result_file=r.json: each run"),
        ("MISSRec", {"checkpoint_dir": "kept"}, "--checkpoint_dir=kept: each run"),
    ],
)
def test_refusals(shop: Path, model: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        plan(shop, model, options=options)
    assert message in str(refusal.value)


def test_a_run_of_equal_options_is_planned_once(shop: Path) -> None:
    options = {"data_path": str(shop)}
    run = plan_run("Pop", "Pop", "tiny", 1, (), options)
    assert plan_runs(["Pop", "Pop"], ["tiny", "tiny"], [1, 1], options) == [run]
