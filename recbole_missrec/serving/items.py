"""The commands ``add-items`` and ``remove-items``."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_missrec.data.completion import COMPLETIONS, complete, completers
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.data.features import item_rows, read_features
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import check_writable
from recbole_missrec.map.item_files import read_pairs
from recbole_missrec.serving.catalogue import read_item_tokens
from recbole_missrec.serving.commands import options_of
from recbole_missrec.serving.overlay import (
    Blocks,
    Overlay,
    extend,
    overlay_path,
    read_overlay,
    write_overlay,
)
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.trainer.checkpoint import load_checkpoint
from recbole_missrec.words import names

Rows = tuple[list[str], torch.Tensor]  # raw tokens and float32 [tokens, d_m]


def add_items(checkpoint: str, options: Mapping[str, str]) -> None:
    """Offer items that the model was not trained with, or offer removed ones again.

    Time and memory grow as the catalogue and, with texts or pictures, as encoding these.

    Args:
        checkpoint: path of a best checkpoint.
        options: of the command line, values as text.

    Raises:
        UsageError: bad input; see the help of the command.
    """
    own = {"features": "", "texts": "", "pictures": "", "removed": ""}
    given, others = options_of("add-items", options, own)
    sources = {key: value for key, value in given.items() if value}
    if not sources:
        raise UsageError("add-items: give --features, --texts, --pictures or --removed")
    check_writable(overlay_path(checkpoint))
    recommender = Recommender.load(checkpoint, others)
    data = load_checkpoint(checkpoint)["data"]
    overlay = read_overlay(checkpoint, data)
    if "removed" in sources:
        overlay = _offer_again(overlay, names("removed", sources.pop("removed")))
    if sources:
        overlay = _added(recommender, overlay, *_rows(sources, data["encoders"]))
    write_overlay(checkpoint, data, overlay)
    _say(checkpoint, recommender, overlay)


def remove_items(checkpoint: str, options: Mapping[str, str]) -> None:
    """Offer items no more; they stay known in histories.

    Args:
        checkpoint: path of a best checkpoint.
        options: of the command line, values as text.

    Raises:
        UsageError: bad input; see the help of the command.
    """
    given, others = options_of("remove-items", options, {"items": "", "file": ""})
    if bool(given["items"]) == bool(given["file"]):
        raise UsageError("remove-items: give one of --items=A,B and --file=FILE")
    check_writable(overlay_path(checkpoint))
    recommender = Recommender.load(checkpoint, others)
    catalogue = recommender.catalogue
    tokens = read_item_tokens(Path(given["file"])) if given["file"] else []
    tokens = tokens or names("items", given["items"])
    unknown = np.flatnonzero(catalogue.rows(tokens) == 0)
    if len(unknown):
        catalogue.row("--file" if given["file"] else "--items", tokens[unknown[0]])
    asked = torch.zeros_like(catalogue.offered)
    asked[catalogue.rows(tokens)] = True
    if not (catalogue.offered & ~asked).any():
        raise UsageError("remove-items: no item would be left")
    data = load_checkpoint(checkpoint)["data"]
    overlay = read_overlay(checkpoint, data)
    overlay = overlay._replace(removed=list(dict.fromkeys([*overlay.removed, *tokens])))
    write_overlay(checkpoint, data, overlay)
    _say(checkpoint, recommender, overlay)


def _say(checkpoint: str, recommender: Recommender, overlay: Overlay) -> None:
    trained = len(recommender.catalogue) - 1 - recommender.added
    print(
        f"{overlay_path(checkpoint)}: {trained:,} items of the training, {len(overlay.tokens):,} "
        f"added, {len(overlay.removed):,} removed"
    )


def _offer_again(overlay: Overlay, tokens: Sequence[str]) -> Overlay:
    for token in tokens:
        if token not in overlay.removed:
            near = nearest(token, overlay.removed) if overlay.removed else "none is"
            raise UsageError(f"--removed={token}: is not among the removed items; {near}")
    return overlay._replace(removed=[token for token in overlay.removed if token not in tokens])


def _rows(
    sources: Mapping[str, str], encoders: Mapping[str, str]
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Features by modality, as an encoder gives them, and texts by token.

    Args:
        sources: the options ``features``, ``texts`` and ``pictures``.
        encoders: modality -> name of the encoder of the checkpoint's features.

    Raises:
        UsageError: a file is damaged or of another encoder, or gives a modality twice.
    """
    rows: dict[str, Rows] = {}
    texts: dict[str, str] = {}
    for name in filter(None, sources.get("features", "").split(",")):
        modality = name.split(".")[-2] if name.count(".") > 1 else name
        if modality not in encoders:
            near = nearest(modality, encoders)
            raise UsageError(f"{name}: must be named NAME.MODALITY.safetensors; modality: {near}")
        if modality in rows:
            raise UsageError(f"{name}: {modality} is given twice; put all items into one file")
        file = read_features(name)
        if file.encoder != encoders[modality]:
            raise UsageError(f"{name}: of {file.encoder}, but the model reads {encoders[modality]}")
        rows[modality] = file.tokens, file.matrix.float()
    for option, modality in (("texts", "text"), ("pictures", "image")):
        if option in sources:
            if modality in rows or modality not in encoders:
                why = "is given twice" if modality in rows else "the model does not read"
                raise UsageError(f"--{option}={sources[option]}: {modality} {why}")
            inputs: dict[str, Any] = _inputs(option, Path(sources[option]))
            texts |= inputs if option == "texts" else {}
            rows[modality] = _encoded(inputs, modality, encoders[modality])
    return rows, texts


def _inputs(option: str, path: Path) -> dict[str, Any]:
    """Texts of a table, or files of a folder, by token."""
    if option == "texts":
        return read_pairs(path).to_dict()
    try:
        return {file.stem: file for file in sorted(path.iterdir()) if file.is_file()}
    except OSError as error:
        raise UsageError(f"--pictures={path}: cannot be read: {error.strerror}") from error


def _encoded(inputs: Mapping[str, Any], modality: str, name: str) -> Rows:
    from dataset_builders.encoders import named
    from dataset_builders.encoding import encode

    with tempfile.TemporaryDirectory() as work:
        encoded = encode(inputs, named(modality, name), Path(work))
        assert encoded is not None  # in one process
        if not encoded.features.tokens:
            reasons = ", ".join(encoded.failures) or "there are none"
            raise UsageError(f"add-items: no {modality} of any item can be encoded: {reasons}")
        return encoded.features.tokens, torch.from_numpy(np.array(encoded.features.matrix))


def _added(
    recommender: Recommender, overlay: Overlay, rows: Mapping[str, Rows], texts: Mapping[str, str]
) -> Overlay:
    """The overlay with more items.

    Raises:
        UsageError: an item is there already, features are of another size, or the model cannot
            take items that it was not trained with.
    """
    tokens = list(dict.fromkeys(token for some, _ in rows.values() for token in some))
    known = np.flatnonzero(recommender.catalogue.rows(tokens))
    if len(known):
        raise UsageError(
            f"add-items: {tokens[known[0]]} is in the catalogue; what was added keeps its vectors, "
            "so that another item needs another token"
        )
    config = recommender.config
    trained = {modality: _trained(recommender, modality) for modality in config["modalities"]}
    added = {name: FeatureStore(len(tokens), store.shape[1]) for name, store in trained.items()}
    for modality, (own, matrix) in rows.items():
        store = added[modality]
        if matrix.shape[1] != store.shape[1]:
            raise UsageError(
                f"add-items: {modality} features of {matrix.shape[1]} numbers; "
                f"the model reads {store.shape[1]}"
            )
        row = torch.from_numpy(pd.Index(own).get_indexer(tokens))
        store.add(matrix, row, trained[modality].sources[-1])
    if config["missing"] in COMPLETIONS:
        complete(added, completers(config["missing"], trained, config["seed"]))
    blocks: Blocks = {name: (store.in_memory(), store.present) for name, store in added.items()}
    extend(recommender.scorer.model, blocks)  # or the model says that it cannot
    all_texts = overlay.texts + [texts.get(token, "") for token in tokens]
    if overlay.blocks:
        blocks = {
            name: (torch.cat([before[0], more[0]]), torch.cat([before[1], more[1]]))
            for (name, more), before in zip(blocks.items(), overlay.blocks.values(), strict=True)
        }
    return Overlay(overlay.tokens + tokens, blocks, all_texts, overlay.removed)


def _trained(recommender: Recommender, modality: str) -> FeatureStore:
    """Features of the training, with the mean and scale that they were standardised by."""
    dataset = recommender.config["dataset"]
    file = read_features(recommender.folder / f"{dataset}.{modality}.safetensors")
    trained = len(recommender.catalogue) - recommender.added
    token2id = {token: row for row, token in enumerate(recommender.catalogue.tokens[:trained])}
    store = FeatureStore(trained, file.matrix.shape[1])
    store.add(file.matrix, item_rows(file, token2id, trained)[0])
    if recommender.config["standardise_features"]:
        store.standardise()
    return store
