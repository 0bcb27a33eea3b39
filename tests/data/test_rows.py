"""Rows, splits and batches made by array operations are those of RecBole's own loops."""

from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import data_preparation, get_dataloader
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from dataset_builders.__main__ import main as build_dataset
from recbole_missrec.config import Config
from recbole_missrec.data.features import write_features
from recbole_missrec.data.groups import Groups
from recbole_missrec.data.histories import HistoryRows
from recbole_missrec.data.rows import TRIMMED_MODELS, PointerRows, SharedRows
from recbole_missrec.errors import UsageError
from recbole_missrec.registry import get_dataset_class, get_model

MODELS = ("SASRec", "GRU4Rec", "BERT4Rec", "NARM", "MISSRec", "SRGNN")
CAPS = (None, 2)

# b's x and y, and a's x and w, share a time; c has too few for validation; d has no history.
DOZEN = """\
user_id:token item_id:token timestamp:float
b x 5
a y 1
b y 5
b z 1
c x 2
a x 3
a z 2
b x 7
c z 1
b w 6
a w 3
d y 9
""".replace(" ", "\t")
# Users b, a, c, d are 1 to 4 and items x, y, z, w too, as they come in the file.
DOZEN_ROWS = {
    "train": {
        "user_id": [2, 3, 1, 1],
        "item_id": [3, 1, 1, 2],
        "timestamp": [2, 2, 5, 5],
        "item_length": [1, 1, 1, 2],
        "item_id_list": [[2, 0, 0], [3, 0, 0], [3, 0, 0], [3, 1, 0]],
        "timestamp_list": [[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 5, 0]],
    },
    "valid": {
        "user_id": [2, 1],
        "item_id": [1, 4],
        "timestamp": [3, 6],
        "item_length": [2, 3],
        "item_id_list": [[2, 3, 0], [3, 1, 2]],
        "timestamp_list": [[1, 2, 0], [1, 5, 5]],
    },
    "test": {
        "user_id": [2, 1],
        "item_id": [4, 1],
        "timestamp": [3, 7],
        "item_length": [3, 3],
        "item_id_list": [[2, 3, 1], [1, 2, 4]],
        "timestamp_list": [[1, 2, 3], [5, 5, 6]],
    },
}


@pytest.fixture(scope="module")
def dozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    (folder / "dozen").mkdir()
    (folder / "dozen" / "dozen.inter").write_text(DOZEN)
    write_features(folder / "dozen" / "dozen.text.safetensors", ["x"], torch.ones(1, 2), "a scale")
    return folder


@pytest.fixture(scope="module")
def ml_100k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RecBole's bundled copy under a name without props, and features so that MISSRec reads it."""
    folder = tmp_path_factory.mktemp("shops")
    (folder / "movies").mkdir()
    bundled = Path(str(files("recbole"))) / "dataset_example" / "ml-100k" / "ml-100k.inter"
    (folder / "movies" / "movies.inter").symlink_to(bundled)
    features = folder / "movies" / "movies.text.safetensors"
    write_features(features, ["242"], torch.ones(1, 2), "a scale")
    return folder


@pytest.fixture(scope="module")
def scientific(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("released"), str(real_data / "Scientific")
    words = ["released", source, "--name", "Scientific", "--out", str(folder)]
    assert build_dataset(words) == 0
    return folder


def configure(folder: Path, name: str, model: str = "SASRec", **options: Any) -> Config:
    given = {"data_path": str(folder), "state": "error", "use_gpu": False, **options}
    if model == "MISSRec":
        given["modalities"] = ["text"]
    return Config(model, name, config_dict=given)


def own(config: Config) -> Any:
    return get_dataset_class(config)(config)


def assert_same_columns(ours: Interaction, theirs: Interaction) -> None:
    assert ours.columns == theirs.columns
    assert len(ours) == len(theirs)
    for column in theirs.columns:
        assert ours[column].dtype == theirs[column].dtype, column
        assert torch.equal(ours[column], theirs[column]), column


def with_cap(parts: list[Any], cap: int | None) -> list[Any]:
    """RecBole's parts, the training part with the last rows of each user alone."""
    if cap is None:
        return parts
    train, *others = parts
    users = train.inter_feat["user_id"].tolist()
    kept: list[int] = []
    seen: Counter[int] = Counter()
    for row in reversed(range(len(users))):
        seen[users[row]] += 1
        if seen[users[row]] <= cap:
            kept.insert(0, row)
    return [train.copy(train.inter_feat[kept]), *others]


@cache
def recboles(folder: Path, name: str) -> list[Any]:
    """Training, validation and test part by RecBole's loops."""
    return SequentialDataset(configure(folder, name)).build()


def batches(config: Config, loader: Any) -> list[Interaction]:
    """The first batches of a loader, drawn after seeding."""
    init_seed(config["seed"], config["reproducibility"])
    drawn = islice(loader, 2)
    return [batch[0] if isinstance(batch, tuple) else batch for batch in drawn]


def assert_as_recboles(folder: Path, name: str, model: str, cap: int | None) -> None:
    """Parts whole, and the first batches of each, equal RecBole's."""
    config = configure(folder, name, model, max_train_prefixes=cap)
    theirs = with_cap(recboles(folder, name), cap)
    loaders = data_preparation(config, own(config))
    for phase, loader, part in zip(DOZEN_ROWS, loaders, theirs, strict=True):
        assert isinstance(loader._dataset.inter_feat, HistoryRows)
        assert_same_columns(loader._dataset.inter_feat, part.inter_feat)
        their_loader = get_dataloader(config, phase)(config, part, None, shuffle=phase == "train")
        assert len(loader) == len(their_loader)
        pairs = zip(batches(config, loader), batches(config, their_loader), strict=True)
        for ours, expected in pairs:
            if model in TRIMMED_MODELS:
                longest = int(expected["item_length"].max())
                for column in ("item_id_list", "timestamp_list"):
                    expected[column] = expected[column][:, :longest]
            assert_same_columns(ours, expected)


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("model", MODELS)
def test_rows_of_ml_100k_are_recboles(ml_100k: Path, model: str, cap: int | None) -> None:
    assert_as_recboles(ml_100k, "movies", model, cap)


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("model", MODELS)
def test_rows_of_scientific_are_recboles(scientific: Path, model: str, cap: int | None) -> None:
    assert_as_recboles(scientific, "Scientific", model, cap)


@pytest.mark.parametrize("model", MODELS)
def test_rows_of_the_dozen(dozen: Path, model: str) -> None:
    config = configure(dozen, "dozen", model, MAX_ITEM_LIST_LENGTH=3)
    for part, expected in zip(own(config).build(), DOZEN_ROWS.values(), strict=True):
        rows = part.inter_feat
        assert {column: rows[column].tolist() for column in rows} == expected


def test_a_capped_dozen(dozen: Path) -> None:
    config = configure(dozen, "dozen", max_train_prefixes=1)
    train, valid, test = own(config).build()
    assert train.inter_feat["user_id"].tolist() == [2, 3, 1]
    assert train.inter_feat["item_id_list"][:, :2].tolist() == [[2, 0], [3, 0], [3, 1]]
    assert (len(valid), len(test)) == (2, 2)


@pytest.mark.parametrize("model", MODELS)
def test_a_share_of_the_users_is_trained_on(dozen: Path, model: str) -> None:
    """All rows of a user or none: with this seed users 2 and 3; all are evaluated."""
    config = configure(dozen, "dozen", model, train_share=0.5, seed=31)
    train, valid, test = own(config).build()
    assert train.inter_feat["user_id"].tolist() == [2, 3]
    assert valid.inter_feat["user_id"].tolist() == DOZEN_ROWS["valid"]["user_id"]
    assert test.inter_feat["user_id"].tolist() == DOZEN_ROWS["test"]["user_id"]
    with pytest.raises(UsageError, match="--train_share=1e-09: no user is drawn; raise it"):
        own(configure(dozen, "dozen", model, train_share=1e-9, seed=31)).build()


def test_a_model_without_histories_is_trained_on_the_same_share(dozen: Path) -> None:
    part, *_ = own(configure(dozen, "dozen", "BPR", train_share=0.5, seed=31)).build()
    whole, *_ = own(configure(dozen, "dozen", "BPR", seed=31)).build()
    users = whole.inter_feat["user_id"]
    assert set(users.tolist()) == {1, 2, 3, 4}
    assert part.inter_feat["user_id"].tolist() == users[users > 1].tolist()  # 4 has no history


# --- other options, other models -----------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {"eval_args": {"split": {"RS": [2, 1, 1]}, "order": "TO", "group_by": "user"}},
    {"eval_args": {"split": {"RS": [2, 1, 1]}, "order": "TO", "group_by": "none"}},
    {"eval_args": {"split": {"TS": [2, 1, 1]}, "order": "TO"}},
    {"user_inter_num_interval": "[3,inf)", "item_inter_num_interval": "[2,6]"},
    {"load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"]}},
    {"load_col": {"inter": "*"}},
    {"rm_dup_inter": "first"},
    {"unused_col": {"inter": ["timestamp"]}},
]


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dozen twice, with ratings and what a parser can stumble over; ``tagged``: a list, too."""
    folder = tmp_path_factory.mktemp("shops")
    header, *lines = DOZEN.splitlines()
    rows = [f"{line}\t{index / 7}" for index, line in enumerate([*lines, *lines])]
    rows += ["d\tx\t3\t1", "", "e\ty\t2\t1e-3", 'b\t"x"\t4\tNA', "c\t x \t4\t"]
    tags = [f'\t"t{index} t"' for index in range(24)] + ["\t", "", "", "\t\tt", "\tt t t"]
    tagged = [row + tag for row, tag in zip(rows, tags, strict=True)]
    for name, more, table in (("rated", "", rows), ("tagged", "\ttags:token_seq", tagged)):
        (folder / name).mkdir()
        text = "\n".join([f"{header}\trating:float{more}", *table])
        (folder / name / f"{name}.inter").write_text(text)
    return folder


@pytest.mark.filterwarnings("ignore:using <built-in function len>:FutureWarning")  # RecBole's
@pytest.mark.parametrize("name", ["rated", "tagged"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_parts_under_other_options(
    rated: Path, model: str, options: dict[str, Any], name: str
) -> None:
    config = configure(rated, name, model, **options)
    theirs = (SequentialDataset if model == "SASRec" else Dataset)(config).build()
    for ours, part in zip(own(config).build(), theirs, strict=True):
        assert_same_columns(ours.inter_feat, part.inter_feat)


@given(st.lists(st.integers(-2, 3), min_size=1, max_size=40), st.integers(1, 3))
def test_groups_are_those_of_recboles_loops(keys: list[int], count: int) -> None:
    expected = list(Dataset._grouped_index(None, keys))
    groups = Groups(np.array(keys))
    assert list(groups) == expected
    parts = Dataset._split_index_by_leave_one_out(None, expected, count)
    assert [part.tolist() for part in groups.leave_out(count)] == parts


def test_an_augmentation_of_its_own_stays(dozen: Path) -> None:
    assert issubclass(get_dataset_class(configure(dozen, "dozen", "SASRec")), PointerRows)
    dien = get_dataset_class(configure(dozen, "dozen", "DIEN"))
    assert not issubclass(dien, PointerRows)
    assert issubclass(dien, SharedRows)


def test_what_reads_all_rows_gets_them(dozen: Path) -> None:
    config = configure(dozen, "dozen")
    ours, theirs = own(config), SequentialDataset(config)
    for dataset in (ours, theirs):
        dataset._change_feat_format()
    assert (ours.inter_matrix() != theirs.inter_matrix()).nnz == 0
    for index in (slice(None), [0, 3], range(1, 4), torch.tensor([True] * 3 + [False] * 5)):
        assert_same_columns(ours.inter_feat[index], theirs.inter_feat[index])
    assert ours[:]["item_id_list"].shape == (8, 4)  # as wide as the longest history
    with pytest.raises(KeyError, match="rating"):
        ours.inter_feat["rating"]


@pytest.mark.parametrize("mode", ["full", "uni2", "pop2"])
def test_batches_of_sampled_losses_and_evaluation(dozen: Path, mode: str) -> None:
    options: dict[str, Any] = {
        "loss_type": "BPR",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "eval_args": {"mode": mode},
        "trim_batches": False,
    }
    config = configure(dozen, "dozen", **options)
    loaders = [data_preparation(config, make(config)) for make in (own, SequentialDataset)]
    for ours, theirs in zip(*loaders, strict=True):
        pairs = list(zip(batches(config, ours), batches(config, theirs), strict=True))
        assert pairs
        for batch, expected in pairs:
            assert sorted(batch) == sorted(expected)
            assert all(torch.equal(batch[column], expected[column]) for column in expected)


def test_full_ranking_makes_no_sampler(dozen: Path) -> None:
    config = configure(dozen, "dozen")
    assert [loader._sampler for loader in data_preparation(config, own(config))] == [None] * 3


def test_a_model_that_reads_other_rows_trains(dozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(dozen, "dozen", "FEARec", MAX_ITEM_LIST_LENGTH=3, train_batch_size=4)
    train_data, _, _ = data_preparation(config, own(config))
    model = get_model("FEARec")(config, train_data._dataset)
    (batch,) = train_data
    assert model.calculate_loss(batch).isfinite()
