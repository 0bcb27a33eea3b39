"""Options: values of texts, defaults of RecBole and of ``props/``, what a checkpoint keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
import recbole
import yaml
from hypothesis import given
from hypothesis import strategies as st
from recbole.config import Config as RecBoleConfig

import recbole_missrec
from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError
from recbole_missrec.options import OptionLoader, parse_value
from recbole_missrec.paths import props_dir
from recbole_missrec.registry import known_models

PROPS = sorted(path for path in props_dir().rglob("*.yaml") if path.parent.name != "search")
NO_NEGATIVES = "none"  # what RecBole's Config makes of `train_neg_sample_args: ~`


def content(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("True", True),
        ("False", False),
        ("false", False),
        ("None", None),
        ("~", None),
        ("[text, image]", ["text", "image"]),
        ("['text', 'image']", ["text", "image"]),
        ("[10, 50]", [10, 50]),
        ("{'mode': 'full'}", {"mode": "full"}),
        ("{split: {LS: valid_and_test}}", {"split": {"LS": "valid_and_test"}}),
        ("'3'", "3"),
        ("add", "add"),
        ("", ""),
        (" ", " "),
        ("saved/a b.json", "saved/a b.json"),
        ("NDCG@10", "NDCG@10"),
        ("[0,inf)", "[0,inf)"),
        ("[unclosed", "[unclosed"),
        ("2019-02-03", "2019-02-03"),  # no date
        ("2019-02-31", "2019-02-31"),
        ("{1, 2}", {1: None, 2: None}),  # as YAML reads it: no set
        ("{[1]: 2}", "{[1]: 2}"),
        ("b'x'", "b'x'"),
        ("...", "..."),
        ("!!python/object/apply:os.getcwd []", "!!python/object/apply:os.getcwd []"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("1 + 1", "1 + 1"),
    ],
)
def test_value_of_a_text(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(st.text() | st.from_regex(r"[-+0-9eE_.:!&*\[\]{}'\"#,a-z \n]{1,20}", fullmatch=True))
def test_every_text_has_a_plain_value(text: str) -> None:
    json.dumps(parse_value(text))


def test_recboles_own_files_read_as_recbole_reads_them() -> None:
    loader = RecBoleConfig._build_yaml_loader(None)
    files = list((Path(recbole.__file__).parent / "properties").rglob("*.yaml"))
    different = [
        file.name
        for file in files
        if content(file) != yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    ]
    assert len(files) > 100
    assert different == []


def test_recboles_defaults_stay_recboles() -> None:
    config = Config("SASRec", "some-shop")
    assert config["train_batch_size"] == 2048
    assert config["valid_metric"] == "MRR@10"
    assert config["hidden_size"] == 64
    assert config["MAX_ITEM_LIST_LENGTH"] == 50
    assert config["loss_type"] == "CE"
    assert config["train_neg_sample_args"]["distribution"] == NO_NEGATIVES


@pytest.mark.parametrize(
    ("model", "options", "distribution"),
    [
        ("MISSRec", {}, NO_NEGATIVES),
        ("GRU4Rec", {}, NO_NEGATIVES),
        ("GRU4Rec", {"loss_type": "BPR"}, "uniform"),
        ("BPR", {}, "uniform"),
        ("FPMC", {}, "uniform"),
        ("TransRec", {}, "uniform"),  # sequential, pairwise, without an option loss_type
        ("DIN", {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}},
         "uniform"),
        ("DeepFM", {}, "uniform"),  # RecBole would have it read labels
    ],
)  # fmt: skip
def test_negatives_are_sampled_for_the_models_that_need_them(
    model: str, options: dict[str, Any], distribution: str
) -> None:
    config = Config(model, "some-shop", config_dict=options)
    assert config["train_neg_sample_args"]["distribution"] == distribution


@pytest.mark.parametrize("model", ["MISSRec", "SASRec", "BPR"])
def test_the_protocol_is_the_same_for_every_model(model: str) -> None:
    config = Config(model, "some-shop")
    mode = {"valid": "full", "test": "full"}
    split = {"LS": "valid_and_test"}
    assert config["eval_args"] == {
        "split": split, "group_by": "user", "order": "TO", "mode": mode
    }  # fmt: skip
    assert config["repeatable"] is True
    assert config["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert config["metrics"] == ["Recall", "NDCG", "MRR"]
    assert config["topk"] == [10, 50]


def test_every_model_of_recbole_is_configured_by_its_defaults() -> None:
    refused = []
    for model in known_models():
        try:
            config = Config(model, "some-shop")
        except UsageError as error:
            refused.append((model, str(error).partition(":")[2]))
            continue
        assert config["eval_args"]["mode"] == {"valid": "full", "test": "full"}, model
        assert config["metrics"] == ["Recall", "NDCG", "MRR"], model
    needs = " needs the package 'lightgbm'; install it with `pip install lightgbm`"
    assert set(refused) <= {(model, needs) for model in ("xgboost", "lightgbm")}


def test_an_option_that_props_turn_on_can_be_turned_off() -> None:
    config = Config("SASRec", "ml-100k", command_line={"max_train_prefixes": "None"})
    assert config["max_train_prefixes"] is None


def test_a_part_of_eval_args_leaves_the_rest() -> None:
    config = Config("SASRec", "some-shop", command_line={"eval_args": "{mode: uni100}"})
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert config["eval_args"]["order"] == "TO"
    assert config["eval_args"]["mode"] == {"valid": "uni100", "test": "uni100"}


def test_ml_100k_lies_under_data_path_and_has_its_props() -> None:
    missrec = Config("MISSRec", "ml-100k", config_dict={"data_path": "shops"})
    assert missrec["data_path"] == "shops/ml-100k"
    assert missrec["hidden_size"] == 128
    assert missrec["modalities"] is None  # those that it was built with
    for model in ("MISSRec", "SASRec", "GRU4Rec"):
        config = Config(model, "ml-100k")
        assert config["MAX_ITEM_LIST_LENGTH"] == 20, model
        assert config["max_train_prefixes"] == 20, model


def test_files_dictionary_and_command_line_in_this_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{gamma: 1, dropout: 0.1, temperature: 0.1, id_weight: 1}")
    (tmp_path / "b.yaml").write_text("{gamma: 2, dropout: 0.2, temperature: 0.2}")
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    config = Config(
        "MISSRec",
        "some-shop",
        files,
        {"gamma": 3, "dropout": 0.3},
        {"gamma": "4"},
    )
    assert config["hidden_size"] == 300  # props/model/MISSRec.yaml
    assert config["id_weight"] == 1
    assert config["temperature"] == 0.2
    assert config["dropout"] == 0.3
    assert config["gamma"] == 4


def test_model_and_data_set_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("{model: SASRec, dataset: shop-a}")
    config = Config(None, None, [str(file)])
    assert (config["model"], config["dataset"]) == ("SASRec", "shop-a")
    config = Config("GRU4Rec", "shop-b", [str(file)])
    assert (config["model"], config["dataset"]) == ("GRU4Rec", "shop-b")
    with pytest.raises(UsageError, match="--dataset=NAME is missing"):
        Config("SASRec", None)


def recbole_keys(model: str) -> set[str]:
    """Options of RecBole that hold for any model, and those of one, if it is RecBole's."""
    properties = Path(recbole.__file__).parent / "properties"
    files = [properties / "overall.yaml", properties / "dataset/sample.yaml"]
    files += [path for path in [properties / "model" / f"{model}.yaml"] if path.is_file()]
    return {key for path in files for key in content(path) or {}}


@pytest.mark.parametrize("path", PROPS, ids=lambda path: path.stem)
def test_props_name_only_options_that_something_reads(path: Path) -> None:
    package = Path(recbole_missrec.__file__).parent
    code = "\n".join(file.read_text(encoding="utf-8") for file in package.rglob("*.py"))
    unread = [
        key
        for key in content(path).keys() - recbole_keys(path.stem.partition("-")[0])
        if f'config["{key}"]' not in code and f'options["{key}"]' not in code
    ]
    assert unread == []


@pytest.mark.parametrize("name", [path.stem for path in PROPS if path.parent.name == "dataset"])
@pytest.mark.parametrize("model", ["MISSRec", "SASRec"])
def test_props_of_a_data_set_are_a_valid_configuration(model: str, name: str) -> None:
    config = Config(model, name)
    assert config["MAX_ITEM_LIST_LENGTH"] in (20, 50)
    assert config["build"].startswith("python -m dataset_builders ")


@pytest.mark.parametrize(
    ("model", "dataset", "options"),
    [
        ("MISSRec", "ml-100k", {}),
        ("MISSRec", "some-shop", {"item_ids": "False", "learning_rate": "1e-2", "topk": "5",
                                  "valid_metric": "NDCG@5"}),
        ("SASRec", "some-shop", {"loss_type": "BPR", "eval_args": "{mode: uni100}"}),
        ("BERT4Rec", "Pantry", {"clip_grad_norm": "{max_norm: 5}"}),
        ("BPR", "ml-100k", {"train_neg_sample_args": "{distribution: popularity, sample_num: 2}"}),
        ("Pop", "some-shop", {"metrics": "recall", "valid_metric": "Recall@10"}),
    ],
)  # fmt: skip
def test_what_is_kept_gives_the_same_configuration(
    model: str, dataset: str, options: dict[str, str]
) -> None:
    first = Config(model, dataset, command_line=options)
    kept = json.loads(json.dumps(first.resolved))
    again = Config(model, dataset, config_dict=kept)
    assert again.resolved == first.resolved
    assert again.final_config_dict == first.final_config_dict


def test_using_a_configuration_does_not_change_what_is_kept() -> None:
    config = Config("SASRec", "some-shop")
    before = json.dumps(config.resolved)
    config["eval_args"]["mode"]["valid"] = "labeled"
    config["metrics"].append("MAP")
    assert json.dumps(config.resolved) == before
