"""The commands that use a trained model: ``recommend``, ``similar``, ``explain``."""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor
from tqdm import tqdm

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import check_writable, replacing
from recbole_missrec.serving.catalogue import read_item_tokens, with_value
from recbole_missrec.serving.explanation import Explainer
from recbole_missrec.serving.help import MOST
from recbole_missrec.serving.recommender import COLUMNS, Recommender
from recbole_missrec.serving.users import read_users
from recbole_missrec.words import switch, whole_number

SCHEMA = pa.schema([("user", pa.string()), *COLUMNS])  # of what `recommend` writes
ALSO = ("data_path", "build_absent", "use_gpu", "gpu_id", "state")
SCORING = (*ALSO, "unseen_bias")  # of commands that score items for a history


def options_of(
    command: str,
    options: Mapping[str, str],
    own: Mapping[str, str],
    also: Collection[str] = ALSO,
) -> tuple[dict[str, str], dict[str, str]]:
    """Split options into those of a command, with its defaults, and those of the configuration.

    Args:
        command: its name.
        options: given, values as text.
        own: those of the command and their defaults.
        also: those of the configuration that it takes.

    Raises:
        UsageError: neither has such an option.
    """
    for key in options:
        if key not in (*own, *also):
            near = nearest(key, (*own, *also))
            raise UsageError(f"--{key}: {command} has no such option; {near}")
    given = {key: options.get(key, default) for key, default in own.items()}
    return given, {key: value for key, value in options.items() if key not in own}


def topk_of(given: Mapping[str, str]) -> int:
    """The option ``topk``.

    Raises:
        UsageError: it is no number, or too high.
    """
    topk = whole_number("topk", given["topk"])
    if topk > MOST:
        raise UsageError(f"--topk={topk}: must be at most {MOST}")
    return topk


def recommend(checkpoint: str, options: Mapping[str, str]) -> None:
    """Recommend to a history or to the users of a file, part by part.

    Memory is that of the model and of a part of the file, whatever the number of users.

    Args:
        checkpoint: path of a best checkpoint.
        options: of the command line, values as text.

    Raises:
        UsageError: bad input; see the help of the command.
    """
    own = {"history": "", "users": "", "topk": "10", "exclude_history": "False"}
    own |= {"candidates": "", "filter": "", "approximate": "False", "out": ""}
    given, others = options_of("recommend", options, own, SCORING)
    if bool(given["history"]) == bool(given["users"]):
        raise UsageError("recommend: give one of --history=A,B and --users=FILE")
    how: dict[str, Any] = {"k": topk_of(given)}
    how["exclude_history"] = switch("exclude_history", given["exclude_history"])
    approximate = switch("approximate", given["approximate"])
    if given["out"]:
        check_writable(Path(given["out"]))
    recommender = Recommender.load(checkpoint, others)
    if given["candidates"] or given["filter"]:
        how["offered"] = offered(recommender, given["candidates"], given["filter"])
    elif approximate:
        recommender.make_index()
    if given["history"]:
        history = [given["history"].split(",")]
        parts = iter([pa.table({"user": pa.nulls(1, pa.string()), "history": history})])
    else:
        parts = read_users(Path(given["users"]))
    with writing(given["out"]) as write, tqdm(unit=" users", disable=None, leave=False) as bar:
        for part in parts:
            histories = recommender.requested(part)
            found = recommender.table(histories, recommender.rank(histories, **how))
            write(found.add_column(0, SCHEMA.field("user"), part["user"]))
            bar.update(len(part))


def offered(recommender: Recommender, candidates: str, condition: str) -> Tensor:
    """Which items may be recommended, bool ``[items]``.

    Args:
        recommender: of the catalogue.
        candidates: a file of tokens, or empty.
        condition: ``COLUMN=VALUE``, or empty.

    Raises:
        UsageError: a file cannot be read, there is no such column or value, or nothing is left.
    """
    catalogue = recommender.catalogue
    allowed = catalogue.offered
    if candidates:
        allowed = allowed & catalogue.among(read_item_tokens(Path(candidates)), candidates)
    if condition:
        column, equals, value = condition.partition("=")
        if not equals:
            raise UsageError(f"--filter={condition}: must be COLUMN=VALUE")
        table = recommender.folder / f"{recommender.config['dataset']}.item"
        tokens = with_value(table, column, value, recommender.config["seq_separator"])
        allowed = allowed & catalogue.among(tokens, f"--filter={condition}")
    if not allowed.any():
        raise UsageError(f"--filter={condition}: none of {candidates} has it")
    return allowed


@contextmanager
def writing(out: str) -> Iterator[Callable[[pa.Table], Any]]:
    """Write tables part by part, a file whole or not at all.

    Args:
        out: Parquet (``.parquet``) or JSON lines; standard output if empty.

    Yields:
        What writes a part.
    """
    if not out:
        yield lambda table: sys.stdout.write(json_lines(table))
        return
    with replacing(Path(out)) as temporary:
        if Path(out).suffix == ".parquet":
            with parquet.ParquetWriter(temporary, SCHEMA) as file:
                yield file.write_table
        else:
            with temporary.open("w", encoding="utf-8") as lines:
                yield lambda table: lines.write(json_lines(table))


def json_lines(table: pa.Table) -> str:
    """A line for each row."""
    return table.to_pandas().to_json(orient="records", lines=True, force_ascii=False)


def similar(checkpoint: str, options: Mapping[str, str]) -> None:
    """Print the items that are most like one.

    Raises:
        UsageError: bad input; see the help of the command.
    """
    given, others = options_of("similar", options, {"item": "", "topk": "10"})
    topk = topk_of(given)
    if not given["item"]:
        raise UsageError("similar: --item=TOKEN is missing")
    recommender = Recommender.load(checkpoint, others)
    best = recommender.similar(recommender.catalogue.row("--item", given["item"]), topk)
    tokens = recommender.catalogue.tokens[best.items[0].cpu().numpy()]
    for token, score in zip(tokens, best.scores[0].tolist(), strict=True):
        if token:
            print(json.dumps({"item": token, "cosine": score}, ensure_ascii=False))


def explain(checkpoint: str, options: Mapping[str, str]) -> None:
    """Print why an item has its score after a history, as JSON.

    Raises:
        UsageError: bad input; see the help of the command.
    """
    own = {"history": "", "item": ""}
    given, others = options_of("explain", options, own, SCORING)
    for name, value in given.items():
        if not value:
            raise UsageError(f"explain: --{name} is missing; see --help")
    recommender = Recommender.load(checkpoint, others)
    explainer = Explainer(recommender)
    item = recommender.catalogue.row("--item", given["item"])
    histories = recommender.histories([given["history"].split(",")])
    if not int(histories.lengths):
        raise UsageError(f"--history={given['history']}: none of these items is known")
    (parts,) = explainer.parts(histories, torch.tensor([item]))
    told = {"item": given["item"], **parts, "unknown": int(histories.unknown)}
    print(json.dumps(told | explainer.reading(histories), ensure_ascii=False, indent=1))
