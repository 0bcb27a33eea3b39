"""Data sets made out of another one: items without features, items that are new."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.data.domains import Domain
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.map.item_files import read_pairs

COLD_SHARE = 0.2


def source(data_path: Path, name: str) -> Domain:
    """The data set that others are made of.

    Raises:
        UsageError: it is absent.
    """
    domain = Domain(name, data_path / name, "")
    if not domain.interactions():
        raise UsageError(f"--data_path={data_path}: has no {name}; the README says what makes it")
    return domain


def texts_of(whole: Domain) -> Path:
    """Where the texts of a data set are, if it has any."""
    return whole.folder / f"{whole.name}.text.tsv"


def pictures_of(whole: Domain) -> Path:
    """Where it says which pictures a data set has, if it has any."""
    return whole.folder / f"{whole.name}.pictures.tsv"


def without_features(whole: Domain, modality: str, share: float, seed: int, out: Path) -> Path:
    """A data set a share of whose items, drawn by the seed, lacks a modality.

    Args:
        whole: the data set.
        modality: that is lacking.
        share: of the items that have it.
        seed: of the draw.
        out: folder of the new one; nothing is written if it is there.

    Returns:
        What ``data_path`` is then; the data set keeps its name.
    """
    part = Domain(whole.name, out / whole.name, "")
    if not part.interactions():
        for other in whole.modalities():
            if other == modality:
                file = read_features(whole.features(other))
                rows = np.random.default_rng(seed).permutation(len(file.tokens))
                kept = np.sort(rows[round(share * len(rows)) :])
                tokens = [file.tokens[row] for row in kept]
                write_features(part.features(other), tokens, file.matrix[kept], file.encoder)
            else:
                _copy(whole.features(other), part.features(other))
        if texts_of(whole).is_file():
            _copy(texts_of(whole), texts_of(part))
        if pictures_of(whole).is_file():  # paths may be relative to the data set
            files = read_pairs(pictures_of(whole)).items()
            lines = [f"{item}\t{(whole.folder / file).absolute()}" for item, file in files]
            _write_lines(pictures_of(part), ["item_id\tfile", *lines])
        _copy(whole.interactions()[0], part.folder / f"{whole.name}.inter")
    return out


def held_back(whole: Domain, out: Path) -> Path:
    """A data set without the last event of each user: what is chosen on it has seen no test row.

    Args:
        whole: the data set.
        out: folder of the new one; nothing is written if it is there.

    Returns:
        What ``data_path`` is then.
    """
    part = Domain(whole.name, out / whole.name, "")
    if not part.interactions():
        for modality in whole.modalities():
            _copy(whole.features(modality), part.features(modality))
        events, _, last = _events(whole)
        with replacing(part.folder / f"{whole.name}.inter") as temporary:
            events[~last].to_csv(temporary, sep="\t", index=False)
    return out


def _events(whole: Domain) -> tuple[pd.DataFrame, tuple[str, str], pd.Series]:
    """Interactions as text, the columns of users and items, and which is the last of its user.

    Times become places in the user's history: RecBole keeps them as float32, whose steps are of
    minutes since 1970, so that another event than the last might be its last.
    """
    events = pd.read_csv(whole.interactions()[0], sep="\t", dtype=str)
    user, item, time = (
        next(column for column in events if column.startswith(field))
        for field in ("user_id", "item_id", "timestamp")
    )
    order = events[time].astype(float).argsort(kind="stable")
    events[time] = events.loc[order].groupby(user).cumcount().astype(str)
    last = ~events.loc[order].duplicated(user, keep="last").sort_index()
    return events, (user, item), last


def cold_split(whole: Domain, draw: int, out: Path) -> Path:
    """A data set in which a fifth of the items stands nowhere but as the test item of a user.

    Items are drawn by the number; all their interactions but those that come last for a user are
    left out, so that leave-one-out trains and validates without them. They stay candidates, by
    ``NAME.item``, which has every item: ``load_col`` must name it.

    Args:
        whole: the data set.
        draw: number of the draw.
        out: folder of the new one; nothing is written if it is there.

    Returns:
        What ``data_path`` is then; ``cold.txt`` in the data set names the items.
    """
    part = Domain(whole.name, out / whole.name, "")
    if part.interactions():
        return out
    for modality in whole.modalities():
        _copy(whole.features(modality), part.features(modality))
    events, (user, item), last = _events(whole)
    items = np.sort(events[item].unique())
    drawn = np.random.default_rng(draw).choice(items, round(COLD_SHARE * len(items)), False)
    kept = events[~events[item].isin(drawn) | last]
    enough = kept[user].map(kept[user].value_counts()) >= 4  # two to train on, two held out
    _write_lines(part.folder / f"{whole.name}.item", ["item_id:token", *items])
    _write_lines(part.folder / "cold.txt", np.sort(drawn))
    with replacing(part.folder / f"{whole.name}.inter") as temporary:
        kept[enough].to_csv(temporary, sep="\t", index=False)
    return out


def first_sentences(whole: Domain) -> dict[str, str]:
    """Texts up to the first full stop and space, where these cut most of them; else empty.

    In the authors' files that is the title, or its beginning where an abbreviation stands in it.
    """
    if not texts_of(whole).is_file():
        return {}
    texts = read_pairs(texts_of(whole))
    first = texts.str.partition(". ")[0].where(lambda cut: cut != "", texts)
    return first.to_dict() if (first != texts).mean() > 0.5 else {}


def with_sentences(whole: Domain, split: Path, alone: bool, out: Path) -> Path:
    """A cold split with texts by MiniLM, of which cold items may have the first sentence alone.

    Args:
        whole: the data set, which has ``first_sentences``.
        split: of ``cold_split``.
        alone: cold items have that and nothing else, neither the rest nor a picture.
        out: folder of the new one; nothing is written if it is there.

    Returns:
        What ``data_path`` is then.

    Raises:
        UsageError: MiniLM is not installed.
    """
    old, part = (Domain(whole.name, folder / whole.name, "") for folder in (split, out))
    if part.interactions():
        return out
    short = cold_items(old.folder) if alone else set()
    texts = read_pairs(texts_of(whole)).to_dict()
    work = out.parent / "minilm"  # of all splits: what is there is not encoded again
    full, cut = (
        encode(given, choose("text", "minilm"), work) for given in (texts, first_sentences(whole))
    )
    assert full is not None and cut is not None  # in the only process
    tokens = full.features.tokens
    is_cut = np.isin(tokens, list(short))[:, None]
    matrix = np.where(is_cut, cut.features.matrix, full.features.matrix)
    write_features(part.features("text"), tokens, matrix, full.features.encoder)
    for modality in [other for other in whole.modalities() if other != "text"]:
        file = read_features(old.features(modality))
        kept = [row for row, token in enumerate(file.tokens) if token not in short]
        tokens = [file.tokens[row] for row in kept]
        write_features(part.features(modality), tokens, file.matrix[kept], file.encoder)
    for name in (f"{whole.name}.item", "cold.txt", f"{whole.name}.inter"):
        _copy(old.folder / name, part.folder / name)
    return out


def cold_items(folder: Path) -> set[str]:
    """Which items of a ``cold_split`` are cold."""
    return set((folder / "cold.txt").read_text(encoding="utf-8").splitlines())


def _copy(old: Path, new: Path) -> None:
    with replacing(new) as temporary:
        shutil.copyfile(old, temporary)


def _write_lines(path: Path, lines: Sequence[str] | np.ndarray) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
