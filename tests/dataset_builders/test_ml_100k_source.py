"""MovieLens-100K out of the installed RecBole."""

from importlib.resources import files
from pathlib import Path

import pandas as pd
import torch

from dataset_builders.__main__ import main
from recbole_missrec.data.features import read_features


def test_interactions_are_recboles_own_and_every_item_has_a_text(tmp_path: Path) -> None:
    assert main(["ml-100k", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "ml-100k"
    bundled = Path(str(files("recbole"))) / "dataset_example" / "ml-100k" / "ml-100k.inter"
    original = pd.read_csv(bundled, sep="\t", dtype=str).drop(columns="rating:float")
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "ml-100k.inter", sep="\t", dtype=str), original
    )
    assert original.shape == (100_000, 3)
    texts = (folder / "ml-100k.text.tsv").read_text().splitlines()
    assert texts[1] == "1\tToy Story 1995 Animation Children's Comedy"
    features = read_features(folder / "ml-100k.text.safetensors")
    assert features.matrix.shape == (1682, 128)
    assert set(features.tokens) == set(original["item_id:token"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "ml-100k.inter",
        "ml-100k.text.safetensors",
        "ml-100k.text.tsv",
    ]
    by_token = dict(zip(features.tokens, features.matrix, strict=True))
    alien, aliens, toy_story = (by_token[token] for token in ("183", "176", "1"))
    assert torch.dot(alien, aliens) > 0.4 > 4 * torch.dot(alien, toy_story)
