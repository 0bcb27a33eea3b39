"""The SYNTHETIC shop: what is promised of it, on a shop of 120 products."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dataset_builders.__main__ import main
from dataset_builders.pantry.catalogue import CATEGORIES, draw_catalogue
from dataset_builders.pantry.shoppers import simulate
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.data.features import item_rows, read_features

USERS, ITEMS = 900, 120


def build(out: Path, *words: str) -> Path:
    sizes = ["--users", str(USERS), "--items", str(ITEMS)]
    plain = ["--text=tfidf", "--image=histogram"]  # which need no seconds
    assert main(["sample", *sizes, *plain, "--out", str(out), *words]) == 0
    return out / "pantry-sample"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def inter(shop: Path) -> pd.DataFrame:
    table = pd.read_csv(shop / "pantry-sample.inter", sep="\t")
    return table.set_axis(["user", "item", "time"], axis=1)


def content_of(folder: Path) -> dict[str, bytes]:
    """Content by file name, but for the card, which has the command with the folder in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in ("README.md", "card.json")
    }


def test_everyone_buys_and_everything_is_bought(inter: pd.DataFrame) -> None:
    assert (inter.user.nunique(), inter.item.nunique()) == (USERS, ITEMS)
    purchases = inter.groupby("user").size()
    assert (purchases.min(), purchases.max()) == (5, 30)
    assert not inter.duplicated(["user", "item"]).any()
    assert (inter.groupby("user").time.diff().dropna() > 0).all()


def test_the_first_shoppers_begin_with_one_product_each() -> None:
    rng = np.random.default_rng(0)
    catalogue = draw_catalogue(60, rng)
    purchases = simulate(catalogue, 61, rng)
    begun = purchases.groupby("user_id").item_id.first()
    assert sorted(begun[:60]) == list(catalogue.index)
    assert len(begun) == 61


def test_popularity_has_a_long_tail(inter: pd.DataFrame) -> None:
    sales = inter.item.value_counts()
    assert sales.iloc[:12].sum() > 0.2 * sales.sum()  # the first tenth
    assert sales.iloc[0] > 3 * sales.median()


def test_every_product_has_a_text_and_85_percent_a_picture(shop: Path) -> None:
    text, image = (
        read_features(shop / f"pantry-sample.{m}.safetensors") for m in ("text", "image")
    )
    assert len(text.tokens) == ITEMS
    assert len(image.tokens) == 102
    assert {path.stem for path in (shop / "images").iterdir()} == set(image.tokens)
    table = pd.read_csv(shop / "pantry-sample.item", sep="\t", index_col="item_id:token")
    assert set(table.index) == set(text.tokens)
    assert set(table["category:token"]) <= set(CATEGORIES)
    picture = Image.open(shop / "images" / f"{image.tokens[0]}.png")
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_it_says_everywhere_that_it_is_synthetic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = build(tmp_path, "--seed", "3")
    assert capsys.readouterr().out.splitlines()[0] == f"{shop} (SYNTHETIC)"
    readme = (shop / "README.md").read_text()
    assert readme.startswith("# pantry-sample (SYNTHETIC)\n\nSYNTHETIC: products, texts")
    assert "sample --users 900 --items 120 " in readme
    for path in shop.glob("*.safetensors"):
        assert read_features(path).encoder.endswith("(SYNTHETIC)")


def test_the_seed_decides_everything(shop: Path, tmp_path: Path) -> None:
    assert content_of(build(tmp_path / "same")) == content_of(shop)
    first, other = content_of(shop), content_of(build(tmp_path / "other", "--seed", "1"))
    for suffix in ("inter", "text.tsv", "text.safetensors", "image.safetensors"):
        assert other[f"pantry-sample.{suffix}"] != first[f"pantry-sample.{suffix}"]


def hit_rate(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of rows whose target is among the 10 largest scores."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float((best == targets[:, None]).any(axis=1).mean())


def test_content_tells_the_next_purchase_better_than_popularity(
    shop: Path, inter: pd.DataFrame
) -> None:
    codes, items = pd.factorize(inter.item, sort=True)
    token2id = {"[PAD]": 0} | {item: code + 1 for code, item in enumerate(items)}
    from_end = inter.groupby("user").cumcount(ascending=False).to_numpy()
    targets, last = codes[from_end == 0], codes[from_end == 1]
    everyone = np.arange(USERS)
    sales = np.bincount(codes[from_end > 1], minlength=ITEMS)
    rates = {"popularity": hit_rate(np.tile(sales, (USERS, 1)), targets)}
    for modality in ("text", "image"):
        file = read_features(shop / f"pantry-sample.{modality}.safetensors")
        store = FeatureStore(ITEMS + 1, file.matrix.shape[1])
        store.add(file.matrix, item_rows(file, token2id, ITEMS + 1)[0])
        matrix = store[1:].numpy()
        scores = matrix[last] @ matrix.T
        scores[everyone, last] = -1
        rates[modality] = hit_rate(scores, targets)
    assert 0.6 > rates["text"] > 1.3 * rates["popularity"]
    assert 0.6 > rates["image"] > rates["popularity"]
