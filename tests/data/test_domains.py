"""Several data sets as one: own users, own items, own ranking."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.cli import main
from recbole_missrec.config import Config
from recbole_missrec.data.domains import domains, in_order, item_domains
from recbole_missrec.data.features import write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.targets import training_popularity
from recbole_missrec.preparation import prepare
from recbole_missrec.registry import get_dataset_class
from tests.shops import tiny_options, write_tiny_shop

MODELS = ("MISSRec", "SASRec", "Pop")


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shops whose items have the same names; in the second no item has a picture."""
    folder = tmp_path_factory.mktemp("shops")
    write_tiny_shop(folder, name="one")
    write_tiny_shop(folder, name="two", seed=1, items=20)
    (folder / "two" / "two.image.safetensors").unlink()
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def config(shops: Path, dataset: str, model: str = "MISSRec", **options: Any) -> Config:
    return Config(model, dataset, config_dict=tiny_options(shops, model, **options))


def rows(dataset: Any, prefix: str) -> list[tuple[str, list[str], str]]:
    """User, history and next item of each row in tokens, of users with a prefix."""
    found = []
    part = dataset[torch.arange(len(dataset))]
    for user, items, length, target in zip(
        part["user_id"], part["item_id_list"], part["item_length"], part["item_id"], strict=True
    ):
        user = dataset.id2token("user_id", int(user))
        history = dataset.field2id_token["item_id"][items[: int(length)].numpy()].tolist()
        tokens = [user, *history, dataset.id2token("item_id", int(target))]
        if all(token.startswith(prefix) for token in tokens):
            bare = [token.removeprefix(prefix) for token in tokens]
            found.append((bare[0], bare[1:-1], bare[-1]))
    return sorted(found)


@pytest.mark.parametrize("model", MODELS[:2])
def test_rows_are_those_of_each_data_set_alone(shops: Path, model: str) -> None:
    options = {"modalities": ["text"]} if model == "MISSRec" else {}

    def parts(name: str) -> list[Any]:
        given = config(shops, name, model, **options)
        return get_dataset_class(given)(given).build()

    both = parts("one,two")
    for name in ("one", "two"):
        for together, alone in zip(both, parts(name), strict=True):
            assert rows(together, f"{name}/") == rows(alone, "") != []
    assert sum(map(len, both)) == sum(len(part) for name in ("one", "two") for part in parts(name))


def test_batches_of_one_data_set_each(shops: Path) -> None:
    options: dict[str, Any] = {"modalities": ["text"], "train_batch_size": 16}
    trainer, (loader, *_) = prepare(config(shops, "one,two", mix_domains=False, **options))
    packed = trainer.model.training_packer(0)  # as the trainer has batches laid out
    loader.transform = packed
    dataset = loader._dataset

    def epoch() -> list[list[tuple[str, int, int]]]:
        fields = ("user_id", "item_length", "item_id")
        return [
            [
                (dataset.id2token("user_id", int(user)), int(length), int(target))
                for user, length, target in zip(*(batch[name] for name in fields), strict=True)
            ]
            for batch in loader
        ]

    first, second = epoch(), epoch()
    whole = dataset[torch.arange(len(dataset))]
    by_name = [str(dataset.id2token("user_id", int(user)))[:4] for user in whole["user_id"]]
    counts = {name: by_name.count(name) for name in ("one/", "two/")}
    for batches in (first, second):
        assert len(batches) == len(loader) == sum(-(-count // 16) for count in counts.values())
        names = [{row[0][:4] for row in batch} for batch in batches]
        assert all(len(name) == 1 for name in names)
        assert sorted(map(len, batches))[2:] == [16] * (len(batches) - 2)
        assert names != sorted(names, key=min)  # nor is one data set first
        rows = [row for batch in batches for row in batch]
        assert len(set(rows)) == len(rows) == len(dataset)
    assert first != second


def test_features_are_found_by_domain(shops: Path) -> None:
    """Items of the same name in two shops have their own features; a shop may lack a modality."""

    def dataset(name: str) -> Any:
        given = config(shops, name, modalities=["text", "image"], standardise_features=False)
        return get_dataset_class(given)(given)

    both, one = dataset("one,two"), dataset("one")
    two = config(shops, "two", modalities=["text"], standardise_features=False)
    for name, alone in (("one", one), ("two", get_dataset_class(two)(two))):
        tokens = [str(token) for token in alone.field2id_token["item_id"][1:]]
        here = both.token2id("item_id", [f"{name}/{token}" for token in tokens])
        there = alone.token2id("item_id", tokens)
        assert torch.equal(both.features["text"][here], alone.features["text"][there])
        assert torch.equal(both.present["text"][here], alone.present["text"][there])
    assert both.present["image"].sum() == one.present["image"].sum()
    domain = item_domains(both)
    assert domain is not None
    assert domain.tolist()[0] == -1
    assert torch.bincount(domain[1:]).tolist() == [24, 20]
    assert item_domains(one) is None


@pytest.mark.parametrize("model", MODELS)
def test_a_target_is_ranked_among_the_items_of_its_domain(shops: Path, model: str) -> None:
    """Ranks and metrics equal those of scores cut to the domain's items."""
    words = [f"--{key}={value}" for key, value in tiny_options(shops, model, epochs=1).items()]
    words += [f"--model={model}", "--dataset=one,two", "--result_file=r.json", "--topk=[5]"]
    assert main([*words, "--per_user=u.parquet", "--valid_metric=MRR@5"]) == 0
    result = json.loads(Path("r.json").read_text())
    table = read_per_user(Path("u.parquet"))
    ranks = {
        (user, target): better
        for user, target, better in zip(
            table["user"], table["target"], table["better"], strict=True
        )
    }
    assert set(table["category"]) == {"one", "two"}

    given = config(shops, "one,two", model, topk=[5], valid_metric="MRR@5")
    trainer, (train, _, test) = prepare(given)
    trainer.eval_collector.data_collect(train)
    trainer.saved_model_file = result["checkpoint"]
    trainer.evaluate(test)
    domain = item_domains(test._dataset)
    assert domain is not None
    hits: dict[str, list[bool]] = {"one": [], "two": []}
    for batch in test:
        interaction, scores, _, targets = trainer._full_sort_batch_eval(batch)
        for user, own, target in zip(interaction["user_id"], scores, targets, strict=True):
            name = ("one", "two")[int(domain[target])]
            among = own[domain == domain[target]]
            better = int((among > own[target]).sum())
            tokens = (
                test._dataset.id2token("user_id", int(user)),
                test._dataset.id2token("item_id", int(target)),
            )
            assert ranks[tokens] == better
            hits[name].append(better < 5)
    if model == "MISSRec":  # without ties
        for name, found in hits.items():
            recall = result["domains"]["test"][name]["recall@5"]
            assert recall == pytest.approx(sum(found) / len(found))
        everything = hits["one"] + hits["two"]
        assert result["test"]["recall@5"] == pytest.approx(sum(everything) / len(everything))
        assert result["curve"][0]["domains"] == result["domains"]["valid"]


def evaluated(shops: Path, model: str, **options: Any) -> tuple[list[set[str]], list[int], int]:
    """Users of validation and test, how often items were bought before, and training rows."""
    trainer, (train, *others) = prepare(config(shops, "one,two", model, **options))
    parts = [loader._dataset for loader in others]
    users = [
        part.id2token("user_id", part.inter_feat["user_id"].unique().numpy()) for part in parts
    ]
    popularity = training_popularity(trainer.interactions, parts).tolist()
    return [set(part) for part in users], popularity, len(train._dataset)


def test_as_many_users_of_each_data_set_are_evaluated(shops: Path) -> None:
    """The same for every model; nothing else changes."""
    found = {}
    for model in MODELS:
        everyone, popularity, training = evaluated(shops, model)
        found[model], *others = evaluated(shops, model, max_eval_users=4)
        assert others == [popularity, training], model
        assert all(part < whole for part, whole in zip(found[model], everyone, strict=True))
        assert evaluated(shops, model, max_eval_users=1000)[0] == everyone
    assert found["MISSRec"] == found["SASRec"] == found["Pop"]
    for part in found["MISSRec"]:
        names = [user.partition("/")[0] for user in part]
        assert sorted(names) == 4 * ["one"] + 4 * ["two"]
    assert evaluated(shops, "Pop", max_eval_users=4, seed=7)[0] != found["Pop"]
    trainer, (train, *_) = prepare(config(shops, "one,two", "BPR", train_share=0.5, seed=2020))
    trained = set(train._dataset.id2token("user_id", train._dataset.inter_feat["user_id"]))
    both = evaluated(shops, "Pop", max_eval_users=4, train_share=0.5)[0]
    assert both == found["Pop"]
    assert 0 < len(both[0] & trained) < 8  # drawn apart from who is trained on
    given = config(shops, "one", "SASRec", max_eval_users=3)
    _, valid, test = get_dataset_class(given)(given).build()
    assert (len(valid), len(test)) == (3, 3)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "MISSRec",
            {"metrics": ["NDCG", "GAUC"], "topk": [10]},
            "--metrics: a target .* GAUC is of all items; leave it out",
        ),
        ("SASRec", {"eval_args": {"mode": "uni5"}}, "--eval_args: .* not sampled; set its mode"),
        ("BPR", {"eval_args": {"split": {"RS": [2, 1, 1]}}}, "--eval_args: .* set its split to"),
    ],
)
def test_targets_are_ranked_among_items_of_their_own_or_not_at_all(
    shops: Path, model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(config(shops, "one,two", model, **options))
    prepare(config(shops, "one", model, **options))


def test_zero_is_another_vector_in_each_data_set(shops: Path) -> None:
    with pytest.raises(UsageError, match="--missing=zero: features of several data sets"):
        get_dataset_class(given := config(shops, "one,two", missing="zero"))(given)
    given = config(shops, "one,two", missing="zero", standardise_features=False)
    present = get_dataset_class(given)(given).present
    assert present["image"].equal(present["text"] | present["image"])


def test_other_encoders_are_refused(shops: Path, tmp_path: Path) -> None:
    write_tiny_shop(tmp_path, name="one")
    write_tiny_shop(tmp_path, name="two")
    tokens = ["i3", "i4"]
    write_features(tmp_path / "two" / "two.text.safetensors", tokens, torch.ones(2, 9), "other")
    words = [f"--{key}={value}" for key, value in tiny_options(tmp_path).items()]
    given = config(tmp_path, "one,two", modalities=["text"])
    with pytest.raises(Exception, match="9 numbers of other, but .* 7 numbers of random text"):
        get_dataset_class(given)(given)
    assert main([*words, "--dataset=one,two"]) == 2


def test_spaces_learned_of_two_catalogues_are_refused(tmp_path: Path) -> None:
    texts = {"i3": "red tea", "i4": "red jam", "i5": "blue jam"}
    for name, other in (("one", "plum jam"), ("two", "green tea pot")):
        write_tiny_shop(tmp_path, name=name)
        made = encode(texts | {"i6": other}, choose("text", "tfidf"), tmp_path / "work")
        assert made is not None
        tokens, matrix, space = made.features.tokens, made.features.matrix, made.features.encoder
        write_features(tmp_path / name / f"{name}.text.safetensors", tokens, matrix, space)
    given = config(tmp_path, "one,two", modalities=["text"])
    kind = r"3 numbers of TF-IDF \+ truncated SVD of \w{8}"
    with pytest.raises(UsageError, match=f"{kind}, but .* has {kind}; domains that are trained"):
        get_dataset_class(given)(given)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("one,one", "--dataset=one,one: names a data set twice"),
        ("one,", "--dataset=: is the name of a folder"),
        ("one,tow", "--dataset=tow: no such data set in .*; did you mean 'two'"),
        ("one,Pantry", "--dataset=Pantry: not in .*; make it with `python -m dataset_builders"),
    ],
)
def test_wrong_names(
    shops: Path, capsys: pytest.CaptureFixture[str], dataset: str, message: str
) -> None:
    words = [f"--{key}={value}" for key, value in tiny_options(shops).items()]
    assert main([*words, f"--dataset={dataset}", "--no-build"]) == 2
    captured = capsys.readouterr().err
    assert re.search(message, captured), captured


def test_order_of_modalities() -> None:
    assert in_order(["image", "audio", "text", "image"]) == ["text", "audio", "image"]
    names = [domain.prefix for domain in domains({"dataset": "a,b", "data_path": "x/a,b"})]
    assert names == ["a/", "b/"]
