"""Scientific cut in two by category: a source to pre-train on and a target to tune on."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_missrec.data.domains import Domain
from recbole_missrec.data.features import read_features, write_features
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing

TARGET = "Additive Manufacturing Products"  # a quarter of the items, a third of the interactions
SHORTEST = 4  # events of a user: three for training and the two that are held out


def halves(scientific: Path, out: Path) -> None:
    """Write ``source`` and ``target``, without a common item or user; nothing if they are there.

    A user with at least `SHORTEST` events in the target goes there, the others into the source;
    events in the other half are left out.

    Args:
        scientific: folder of the data set.
        out: folder of data sets.

    Raises:
        UsageError: the data set is absent, or has no texts.
    """
    if (out / "target" / "target.inter").is_file():
        return
    whole = Domain("Scientific", scientific, "")
    texts = scientific / "Scientific.text.tsv"
    if not texts.is_file() or not whole.interactions():
        raise UsageError(f"{scientific}: no such data set; make it with the README's command")
    table = pd.read_csv(texts, sep="\t", quoting=csv.QUOTE_NONE, dtype=str)
    category = table["text"].str.extract(r"Industrial & Scientific (.*)")[0].fillna("")
    inside = set(table["item_id"][category.str.startswith(TARGET)])
    events = pd.read_csv(whole.interactions()[0], sep="\t", dtype=str)
    user, item = (next(c for c in events if c.startswith(field)) for field in ("user_", "item_"))
    aimed = events[item].isin(inside).to_numpy()  # [events]
    often = events[aimed][user].value_counts()
    tuned = events[user].isin(often.index[often >= SHORTEST]).to_numpy()  # [events]
    for name, rows in (("source", ~tuned & ~aimed), ("target", tuned & aimed)):
        _write(whole, Domain(name, out / name, ""), events[rows], item)


def _write(whole: Domain, part: Domain, events: pd.DataFrame, item: str) -> None:
    for modality in whole.modalities():
        file = read_features(whole.features(modality))
        kept = np.flatnonzero(pd.Index(file.tokens).isin(events[item]))
        tokens = [file.tokens[row] for row in kept]
        write_features(part.features(modality), tokens, file.matrix[kept], file.encoder)
    with replacing(part.folder / f"{part.name}.inter") as temporary:
        events.to_csv(temporary, sep="\t", index=False)
