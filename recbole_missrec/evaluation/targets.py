"""What is known of the targets of an evaluation, whichever model ranks them."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_missrec.data.domains import domains, in_order
from recbole_missrec.data.features import read_tokens
from recbole_missrec.data.groups import Groups
from recbole_missrec.errors import UsageError

CATEGORY_COLUMNS = ("categories", "category", "genres", "genre", "class")  # the first one counts


@dataclass(frozen=True, eq=False)
class Interactions:
    """Numbers of interactions in a data set, filtered and not yet split.

    Attributes:
        of_users: int64 ``[user_num]``, by internal id, as the next.
        of_items: int64 ``[item_num]``.
    """

    of_users: Tensor
    of_items: Tensor

    @property
    def counts(self) -> dict[str, int]:
        """Users and items without padding, and interactions."""
        return {
            "users": len(self.of_users) - 1,
            "items": len(self.of_items) - 1,
            "interactions": int(self.of_items.sum()),
        }


def count_interactions(dataset: Any) -> Interactions:
    """Count before the split, which consumes the interactions."""
    columns = ((dataset.uid_field, dataset.user_num), (dataset.iid_field, dataset.item_num))
    counts = [np.bincount(dataset.inter_feat[field], minlength=num) for field, num in columns]
    return Interactions(*map(torch.from_numpy, counts))


def training_popularity(interactions: Interactions, held_out: Sequence[Any]) -> Tensor:
    """Occurrences of each item in the training part.

    These are all interactions but the targets of validation and test: with leave-one-out, those of
    each user before the validation item, the first item of a history as well. A cut to
    ``max_train_prefixes``, ``MAX_ITEM_LIST_LENGTH`` or ``train_share`` changes nothing, so that
    they are the same for every model. (But for users of three interactions, of whom RecBole takes a
    validation item for general models and none for sequential ones.)

    Args:
        interactions: of the whole data set.
        held_out: its validation and test parts, of ``ArrayDataset``.

    Returns:
        int64 ``[item_num]``; 0 for the padding item.
    """
    counts = interactions.of_items.clone()
    for part in held_out:
        counts -= part.held_out
    return counts


def per_user_columns(
    ranks: Any, test: Any, interactions: Interactions, popularity: Tensor, config: Any
) -> dict[str, Any]:
    """Columns for `write_per_user`.

    Args:
        ranks: ``Ranks`` of the test rows.
        test: the test part, a RecBole data set.
        interactions: of the whole data set.
        popularity: of the items in the training part, int64 ``[item_num]``.
        config: configuration of the run.

    Raises:
        UsageError: a file of features or of items is damaged.
    """
    targets = test.id2token(test.iid_field, ranks.targets.numpy()).tolist()
    return {
        "user": test.id2token(test.uid_field, ranks.users.numpy()).tolist(),
        "target": targets,
        "better": ranks.better,
        "equal": ranks.equal,
        "score": ranks.scores,
        "length": history_lengths(interactions, ranks.users),
        "popularity": popularity[ranks.targets],
        "modalities": item_modalities(targets, config),
        "category": item_categories(targets, config),
    }


def history_lengths(interactions: Interactions, users: Tensor) -> Tensor:
    """A user's interactions before the target, those that no model reads as well.

    Args:
        interactions: of the whole data set.
        users: internal id of the user of each test row, ``[rows]``; several rows of a user in the
            order of time.

    Returns:
        int64 ``[rows]``; with leave-one-out, one less than the user has.
    """
    groups = Groups(users.numpy())
    lengths = interactions.of_users[users]  # [rows]
    lengths[groups.order] -= torch.from_numpy(groups.from_end)
    return lengths


def item_modalities(items: Sequence[str], config: Any) -> list[str]:
    """Modalities of which items have features, by the files of the data set.

    These are all files ``NAME.MODALITY.safetensors``, whatever the model reads. Their tokens alone
    are read.

    Args:
        items: raw item tokens, ``[rows]``.
        config: configuration of the run, which names data set and folder.

    Returns:
        Names with commas between, such as ``"text,image"``: text first, others by name;
        ``[rows]``.

    Raises:
        UsageError: a file is damaged.
    """
    names = pd.Series("", index=items)  # [rows]
    parts = domains(config)
    for modality in in_order(modality for domain in parts for modality in domain.modalities()):
        tokens = (
            domain.prefix + token
            for domain in parts
            if domain.features(modality).is_file()
            for token in read_tokens(domain.features(modality))
        )
        names[names.index.isin(list(tokens))] += f",{modality}"
    return names.str.removeprefix(",").tolist()


def item_categories(items: Sequence[str], config: Any) -> list[str | None]:
    """First category of items, by the column of `CATEGORY_COLUMNS` in ``NAME.item``.

    Of several data sets that are trained on together, the data set.

    Args:
        items: raw item tokens, ``[rows]``.
        config: configuration of the run, which names data set, folder, fields and separators.

    Returns:
        ``[rows]``; None where an item has none, and everywhere without the file or the column.

    Raises:
        UsageError: the file is damaged.
    """
    parts = domains(config)
    if len(parts) > 1:
        return [item.partition("/")[0] for item in items]
    path = parts[0].folder / f"{parts[0].name}.item"
    if not path.is_file():
        return [None] * len(items)
    how: dict[str, Any] = {"sep": config["field_separator"], "encoding": config["encoding"]}
    how |= {"dtype": str, "quoting": csv.QUOTE_NONE}  # quotation marks are part of a title
    try:
        fields = {name.partition(":")[0]: name for name in pd.read_csv(path, nrows=0, **how)}
        column = next((fields[name] for name in CATEGORY_COLUMNS if name in fields), None)
        item = fields.get(config["ITEM_ID_FIELD"])
        if column is None or item is None:
            return [None] * len(items)
        table = pd.read_csv(path, usecols=[item, column], **how).dropna()
    except ValueError as error:
        raise UsageError(f"{path}: not a table of items: {error}") from error
    values = table.drop_duplicates(item).set_index(item)[column].reindex(items)  # [rows]
    if column.endswith("_seq"):
        values = values.map(lambda value: first_category(value, config["seq_separator"]), "ignore")
    return values.where(values.notna(), None).tolist()


def first_category(value: str, separator: str) -> str:
    """First of several categories: quoted, with commas between, or as RecBole separates tokens.

    >>> first_category("'Arts, Crafts & Sewing', 'Knitting'", " ")
    'Arts, Crafts & Sewing'
    >>> first_category("Active Life, Gyms", " ")
    'Active Life'
    >>> first_category("Animation Children's Comedy", " ")
    'Animation'
    """
    quoted = re.match(r"""[\[\s]*(['"])(.+?)\1""", value)
    if quoted:
        return quoted[2]
    return value.split("," if "," in value else separator)[0].strip()
