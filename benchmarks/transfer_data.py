"""A source to pre-train on and a target to tune on: by category, or films and products."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.stress.data import source, texts_of
from dataset_builders.encoders import choose
from dataset_builders.encoding import encode
from recbole_missrec.data.domains import Domain
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.map.item_files import read_pairs

TARGET = "Additive Manufacturing Products"  # a quarter of the items, a third of the interactions
SHORTEST = 4  # events of a user: three for training and the two that are held out


def halves(data_path: Path, out: Path) -> None:
    """Write ``source`` and ``target``, without a common item or user; nothing if they are there.

    A user with at least `SHORTEST` events in the target goes there, the others into the source;
    events in the other half are left out.

    Args:
        data_path: folder of data sets, Scientific among them.
        out: folder of the data sets to write.

    Raises:
        UsageError: Scientific is absent, or has no texts.
    """
    if (out / "target" / "target.inter").is_file():
        return
    whole, texts = _with_texts("Scientific", data_path)
    category = texts.str.extract(r"Industrial & Scientific (.*)")[0].fillna("")
    inside = set(texts.index[category.str.startswith(TARGET)])
    events = pd.read_csv(whole.interactions()[0], sep="\t", dtype=str)
    user, item = (next(c for c in events if c.startswith(field)) for field in ("user_", "item_"))
    aimed = events[item].isin(inside).to_numpy()  # [events]
    often = events[aimed][user].value_counts()
    tuned = events[user].isin(often.index[often >= SHORTEST]).to_numpy()  # [events]
    for name, rows in (("source", ~tuned & ~aimed), ("target", tuned & aimed)):
        _write(whole, Domain(name, out / name, ""), events[rows], item)


def films(data_path: Path, out: Path) -> None:
    """Write ``source``, ml-100k, and ``target``, Scientific; nothing if they are there.

    Both have texts alone, by MiniLM, so that the features of both are of one encoder.

    Args:
        data_path: folder of data sets, both among them.
        out: folder of the data sets to write.

    Raises:
        UsageError: one is absent or has no texts, or MiniLM is not installed.
    """
    if (out / "target" / "target.inter").is_file():
        return
    for part, name in (("source", "ml-100k"), ("target", "Scientific")):
        whole, texts = _with_texts(name, data_path)
        encoded = encode(texts.to_dict(), choose("text", "minilm"), out / "work" / name)
        assert encoded is not None  # in the only process
        written, features = Domain(part, out / part, ""), encoded.features
        write_features(written.features("text"), features.tokens, features.matrix, features.encoder)
        with replacing(written.folder / f"{part}.inter") as temporary:
            shutil.copyfile(whole.interactions()[0], temporary)
    shutil.rmtree(out / "work")


def _with_texts(name: str, data_path: Path) -> tuple[Domain, pd.Series]:
    """A data set, and its texts by raw item token."""
    whole = source(data_path, name)
    if not texts_of(whole).is_file():
        raise UsageError(f"{texts_of(whole)}: is missing; the README's command makes it")
    return whole, read_pairs(texts_of(whole))


def _write(whole: Domain, part: Domain, events: pd.DataFrame, item: str) -> None:
    for modality in whole.modalities():
        file = read_features(whole.features(modality))
        kept = np.flatnonzero(pd.Index(file.tokens).isin(events[item]))
        tokens = [file.tokens[row] for row in kept]
        write_features(part.features(modality), tokens, file.matrix[kept], file.encoder)
    with replacing(part.folder / f"{part.name}.inter") as temporary:
        events.to_csv(temporary, sep="\t", index=False)
