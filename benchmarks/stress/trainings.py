"""Which models the stress tests train, on which data: one factor at a time around the defaults."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.stress.data import (
    cold_split,
    first_sentences,
    held_back,
    source,
    with_sentences,
    without_features,
)
from recbole_missrec.comparison.plan import Run, plan_run

WITHOUT = "without ids"
NOTHING_LEFT_OUT = {"modality_dropout": "0"}
TOKEN = {"missing": "token", "modality_dropout_of": "items"}  # rows do without it
NO_IDS = {"item_ids": "False"}
BOTH = {"modalities": "[text, image]"}
DRAWS = (0, 1, 2)  # of cold items
COLUMNS = "{inter: [user_id, item_id, timestamp], item: [item_id]}"  # of data sets that have them
# label -> model and options
WHOLE: dict[str, tuple[str, dict[str, str]]] = {
    "MISSRec": ("MISSRec", {}),
    f"MISSRec {WITHOUT}": ("MISSRec", NO_IDS),
    "MISSRec, nothing left out in training": ("MISSRec", NOTHING_LEFT_OUT),
    f"MISSRec {WITHOUT}, nothing left out in training": ("MISSRec", NO_IDS | NOTHING_LEFT_OUT),
    "UniSRec-MM": ("UniSRec", BOTH),
    f"UniSRec-MM {WITHOUT}": ("UniSRec", BOTH | NO_IDS),
}
# label -> model and options
LACKING: dict[str, tuple[str, dict[str, str]]] = {
    "mask, modalities left out (default)": ("MISSRec", {}),
    "mask": ("MISSRec", NOTHING_LEFT_OUT),
    "token": ("MISSRec", TOKEN),
    "ridge": ("MISSRec", {"missing": "ridge"}),
    "UniSRec-MM": ("UniSRec", BOTH),
}
LACKING_ALL = {"": "MISSRec", ": UniSRec": "UniSRec"}  # label -> model, of the other modality
INDUCTIVE, CONTENT = "inductive", "nearest neighbour"
AS_NEGATIVES = {"unseen_negatives": "True"}
# label -> options and the unseen_bias that the part `unseen` found on Scientific, by its rule
RAISED: dict[str, tuple[dict[str, str], float]] = {
    INDUCTIVE: (NO_IDS, 0.08),
    "transductive": ({}, 0.03),
}
COLD: dict[str, tuple[str, dict[str, str]]] = {
    INDUCTIVE: ("MISSRec", NO_IDS),
    "transductive": ("MISSRec", {}),
    "inductive with unseen items as negatives": ("MISSRec", NO_IDS | AS_NEGATIVES),
    "transductive with unseen items as negatives": ("MISSRec", AS_NEGATIVES),
    CONTENT: ("LastItem", BOTH),
}
# whether cold items have a first sentence and nothing else, in data sets with texts by MiniLM
MINIMAL = {"texts by MiniLM": False, "the same, of cold items the first sentence alone": True}
FUSIONS: dict[str, dict[str, str]] = {
    kind: {"item_mm_fusion": kind}
    for kind in ("static", "dynamic_shared", "dynamic_instance", "dynamic_shrunk", "gate")
}
FUSIONS["dynamic_shared, calibrated"] = {"calibrate": "True"}


def whole(data_path: Path, dataset: str, seed: int, epochs: int) -> Iterator[Run]:
    """Models trained with everything, that are then tested without."""
    common = {"data_path": str(data_path), "epochs": str(epochs)}
    for label, (model, options) in WHOLE.items():
        yield plan_run(label, model, dataset, seed, (), options | common)


def lacking(data_path: Path, dataset: str, seed: int, epochs: int, folder: Path) -> Iterator[Run]:
    """Models trained and tested where half of the items lack a modality, or all do.

    Without ids, since these hide what features lack.
    """
    data, common = source(data_path, dataset), NO_IDS | {"epochs": str(epochs)}
    for modality in ("image", "text"):
        half = without_features(data, modality, 0.5, seed, folder / f"half-{modality}-{seed}")
        for label, (model, options) in LACKING.items():
            given = common | options | {"data_path": str(half)}
            yield plan_run(f"50% lack {modality}: {label}", model, dataset, seed, (), given)
        other = {"text": "image", "image": "text"}[modality]
        given = common | {"modalities": f"[{other}]", "data_path": str(data_path)}
        for label, model in LACKING_ALL.items():
            yield plan_run(f"100% lack {modality}{label}", model, dataset, seed, (), given)


def cold(data_path: Path, dataset: str, seed: int, epochs: int, folder: Path) -> Iterator[Run]:
    """Models that have never seen a fifth of the items; seed is that of the training.

    Where the data set has ``first_sentences``, also where these are all that such items have.
    """
    for draw in DRAWS:
        whole = source(data_path, dataset)
        split = cold_split(whole, draw, folder / f"cold-{draw}")
        made = {"": split}
        for kind, alone in MINIMAL.items() if first_sentences(whole) else ():
            made[f", {kind}"] = with_sentences(whole, split, alone, folder / f"cold-{draw}-{alone}")
        for kind, path in made.items():
            for label, (model, options) in COLD.items():
                given = options | {"data_path": str(path), "load_col": COLUMNS}
                given |= {} if model == "LastItem" else {"epochs": str(epochs)}
                if not kind or label in (INDUCTIVE, CONTENT):
                    yield plan_run(f"{label}{kind}, draw {draw}", model, dataset, seed, (), given)


def unseen(data_path: Path, dataset: str, seed: int, epochs: int, folder: Path) -> Iterator[Run]:
    """Models that have never seen a fifth of the items, drawn by the seed; no test row is read."""
    before = held_back(source(data_path, dataset), folder / "held-back")
    split = cold_split(source(before, dataset), seed, folder / f"held-back-cold-{seed}")
    given = {"data_path": str(split), "load_col": COLUMNS, "epochs": str(epochs)}
    for label, (options, _) in RAISED.items():
        yield plan_run(f"{label}, held back", "MISSRec", dataset, seed, (), options | given)


def fusion(data_path: Path, dataset: str, seed: int, epochs: int, folder: Path) -> Iterator[Run]:
    """Every fusion where a quarter of the items lacks the text and, drawn apart, one the image."""
    first = without_features(source(data_path, dataset), "text", 0.25, seed, folder / f"t-{seed}")
    both = without_features(source(first, dataset), "image", 0.25, seed + 1, folder / f"ti-{seed}")
    for kind, options in FUSIONS.items():
        given = NO_IDS | options | {"data_path": str(both), "epochs": str(epochs)}
        yield plan_run(f"fusion {kind}", "MISSRec", dataset, seed, (), given)
