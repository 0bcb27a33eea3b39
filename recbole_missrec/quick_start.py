"""One run: configuration, data, model, training, figures."""

import json
from logging import getLogger
from pathlib import Path
from typing import Any

import recbole.data.utils
import torch
from recbole.data import data_preparation
from recbole.utils import EvaluatorType, init_logger, init_seed
from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.data.dataset import data_identity
from recbole_missrec.data.locate import find_files
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.beyond import beyond_accuracy
from recbole_missrec.evaluation.per_user import check_pairs, write_per_user
from recbole_missrec.evaluation.ranking import METRICS
from recbole_missrec.evaluation.targets import (
    count_interactions,
    per_user_columns,
    training_popularity,
)
from recbole_missrec.files import check_writable, replacing
from recbole_missrec.machine import machine, peak_memory_mib, versions
from recbole_missrec.registry import (
    get_dataset_class,
    get_model,
    get_trainer,
    missing_package,
)
from recbole_missrec.trainer.checkpoint import (
    LEAVES_MODEL,
    OF_A_TRAINED_MODEL,
    check_fields,
    check_unchanged,
    load_checkpoint,
)
from recbole_missrec.trainer.freezing import count_parameters, freeze
from recbole_missrec.trainer.lora import add_lora
from recbole_missrec.trainer.transfer import start_from

# RecBole would unpickle a file of a certain name in the folder of checkpoints, and run its code
recbole.data.utils.load_split_dataloaders = lambda config: None
# of an evaluation batch, at most: its memory grows neither with the items nor with the histories
SCORES = 2**26
HISTORY_ITEMS = 2**18
# The model card, beside a checkpoint: what it was trained on, with which features and options, and
# how well it does.
CARD = "recbole-missrec model card 1"
ON_CARD = (
    *("model", "dataset", "seed", "data", "counts", "parameters", "config", "best_epoch"),
    *("valid", "test", "domains", "versions", "machine"),
)
# Folders that RecBole makes where it is run: made here, since it stops if another run is first.
RECBOLE_LOGS = ("log/{model}", "log_tensorboard")


def train(config: Config) -> dict[str, Any]:
    """Train a model, keep its best checkpoint, and report that one's figures.

    Args:
        config: a checked configuration.

    Returns:
        What ``--result_file`` holds.

    Raises:
        UsageError: data or feature files are missing or damaged.
        Diverged: the loss or a score is not a number.
    """
    trainer, (train_data, valid_data, test_data) = prepare(config, start=not config["resume"])
    if config["resume"]:
        trainer.resume(config["resume"])
    try:
        if config["tune"] == "none":
            trainer.keep()
        else:
            trainer.fit(train_data, valid_data, show_progress=config["show_progress"])
    except ImportError as error:
        raise missing_package(config["model"], error) from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if config.is_own_model:
            raise
        raise recbole_refuses(config, error) from error
    result = report(trainer, valid_data, test_data)
    if processes.rank() == 0:
        card = {"format": CARD} | {key: result[key] for key in ON_CARD}
        write_json(Path(trainer.saved_model_file).with_suffix(".json"), card)
        trainer.resume_file.unlink(missing_ok=True)  # until here the run can go on
    return result


def evaluate(checkpoint: str, command_line: dict[str, str]) -> dict[str, Any]:
    """Figures of a saved model: those that its training printed.

    Args:
        checkpoint: path of a best checkpoint.
        command_line: options that override the stored ones: where data and outputs are, metrics,
            and which candidates (the mode in ``eval_args``).

    Returns:
        What ``--result_file`` holds; the number of epochs trained is not known.

    Raises:
        UsageError: not a checkpoint, an option that the training decided, or the data is not what
            it was trained on.
    """
    trainer, loaders = restore(checkpoint, load_checkpoint(checkpoint), command_line)
    train_data, valid_data, test_data = loaders
    trainer.eval_collector.data_collect(train_data)
    return report(trainer, valid_data, test_data)


def restore(
    checkpoint: str, stored: dict[str, Any], command_line: dict[str, str]
) -> tuple[Any, tuple[Any, Any, Any]]:
    """Data and trainer of a saved model, as its training had them; evaluating loads the weights.

    Args:
        checkpoint: path of a best checkpoint.
        stored: its content.
        command_line: options that override the stored ones, see ``evaluate``.

    Returns:
        As ``prepare``.

    Raises:
        UsageError: an unfinished run, or an option that the training decided.
    """
    if "optimizer" in stored:
        raise UsageError(f"{checkpoint}: of an unfinished run; go on with --resume={checkpoint}")
    check_fields(checkpoint, stored, OF_A_TRAINED_MODEL)
    stored["config"] |= {"result_file": None, "per_user": None, "resume": None}  # the training's
    config = stored_config(stored, command_line)
    check_unchanged(stored["config"], config.resolved, LEAVES_MODEL)
    trainer, loaders = prepare(config, start=False)
    trainer.saved_model_file, trainer.best_epoch = checkpoint, stored["epoch"]
    return trainer, loaders


def stored_config(checkpoint: dict[str, Any], command_line: dict[str, str]) -> Config:
    """Configuration of a checkpoint, with options of a command line on top.

    Raises:
        UsageError: an option that a checkpoint decides, or as ``Config``.
    """
    for key in ("model", "dataset", "config_files"):
        if key in command_line:
            raise UsageError(f"--{key}={command_line[key]}: a checkpoint has its own; leave it out")
    stored = dict(checkpoint["config"])
    if checkpoint["model"] == "MISSRec":  # of before there were the options, or the rule
        stored = {"unseen_negatives": True, "unseen_bias": 0.0} | stored | {"worker": 0}
    return Config(
        checkpoint["model"],
        checkpoint["dataset"],
        config_dict=stored,
        command_line=command_line,
    )


def prepare(config: Config, start: bool = True) -> tuple[Any, tuple[Any, Any, Any]]:
    """Data, model and trainer of a configuration.

    Args:
        config: a checked configuration.
        start: take what the model starts from, where it is pre-trained; else a checkpoint follows.

    Returns:
        The trainer, which holds the model, and the loaders for training, validation and test.

    Raises:
        UsageError: files are missing or damaged, outputs cannot be written, or RecBole refuses.
    """
    if processes.world_size() > 1 and not config.is_own_model:
        raise UsageError(f"--model={config['model']}: is trained in one process; without torchrun")
    processes.from_first(lambda: find_files(config))
    if processes.rank() > 0:
        find_files(config)
    logs = [folder.format(model=config["model"]) for folder in RECBOLE_LOGS]
    outputs = [f"{folder}/*" for folder in (config["checkpoint_dir"], *logs)]
    outputs += [config["result_file"], config["per_user"]]
    for output in filter(None, outputs):
        check_writable(Path(output))
    if processes.rank() > 0:
        config["state"], config["show_progress"] = "error", False
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    logger = getLogger()
    if config["enable_amp"] and torch.cuda.is_available():
        torch.set_autocast_dtype("cuda", torch.bfloat16)  # as on a CPU; no loss scaling needed
    try:
        dataset = get_dataset_class(config)(config)
        identity = data_identity(dataset)  # before the split, which consumes the interactions
        interactions = count_interactions(dataset)
        rows = evaluation_rows(dataset.item_num, config["MAX_ITEM_LIST_LENGTH"])
        config["eval_batch_size"] = min(
            config["eval_batch_size"], rows
        )  # RecBole's loaders read it
        loaders = data_preparation(config, dataset)
        check_parts(config, loaders)
        init_seed(config["seed"], config["reproducibility"])
        model = get_model(config["model"])(config, loaders[0]._dataset).to(config["device"])
    except UsageError:
        raise
    except Exception as error:  # RecBole lets an option of another type fail wherever it is used
        raise recbole_refuses(config, error) from error
    if config["pretrained"] and start:
        start_from(config["pretrained"], model, identity["encoders"])
    if config["tune"] == "lora":
        add_lora(model, config["lora_rank"])
    if config["tune"]:
        freeze(model, config["tune"])
    trainable, total = count_parameters(model)
    logger.info(
        f"{config['model']} on {config['dataset']}: {dataset.user_num - 1:,} users, "
        f"{dataset.item_num - 1:,} items, {len(loaders[0]._dataset):,} training rows; "
        f"{trainable:,} of {total:,} parameters trainable ({trainable / max(1, total):.1%}); "
        f"{config['device']}"
    )
    if processes.rank() > 0:
        torch.manual_seed(config["seed"] + processes.rank())  # other draws of dropout
    trainer = get_trainer(config)(config, model)
    trainer.data_identity, trainer.interactions = identity, interactions
    return trainer, loaders


def evaluation_rows(items: int, longest: int) -> int:
    """Rows of an evaluation batch that fit into memory.

    Args:
        items: number of items that are scored.
        longest: items of a history, at most.
    """
    return max(1, min(SCORES // items, HISTORY_ITEMS // longest))


def recbole_refuses(config: Config, error: Exception) -> UsageError:
    """What to say where RecBole fails at options, or at data, that it does not check."""
    getLogger().debug("refused by RecBole:", exc_info=error)
    reason = " ".join(str(error).split())
    return UsageError(
        f"--dataset={config['dataset']} --model={config['model']}: RecBole refuses them: "
        f"{type(error).__name__}: {reason} (--state=debug shows where)"
    )


def check_parts(config: Config, loaders: tuple[Any, Any, Any]) -> None:
    """See that there is something to train on, to choose by and to report.

    Raises:
        UsageError: a part without rows, too few items for the metrics, or test rows that
            ``per_user`` cannot hold.
    """
    for phase, loader in zip(("training", "validation", "test"), loaders, strict=True):
        if not len(loader._dataset):
            raise UsageError(
                f"--dataset={config['dataset']}: the split leaves no {phase} rows; leave-one-out "
                "needs users of at least 3 interactions, of 4 for a sequential model"
            )
    items = loaders[0]._dataset.item_num - 1
    if items < 2:
        raise UsageError(f"--dataset={config['dataset']}: has {items} item; nothing to rank")
    lists = [name for name in config["metrics"] if name.lower() not in METRICS]
    if config["eval_type"] == EvaluatorType.RANKING and lists and max(config["topk"]) > items:
        raise UsageError(
            f"--topk={config['topk']}: {lists[0]} needs lists of at most {items} items"
        )
    if config["per_user"]:
        test = loaders[2]._dataset
        fields = test.uid_field, test.iid_field
        tokens = (test.field2id_token[field][test.inter_feat[field].numpy()] for field in fields)
        check_pairs(config["per_user"], *tokens)


def report(trainer: Any, valid_data: Any, test_data: Any) -> dict[str, Any]:
    """Evaluate the best checkpoint; print a table; write ``result_file`` and ``per_user``."""
    config = trainer.config
    bar = config["show_progress"]
    valid = trainer.evaluate(valid_data, show_progress=bar)
    valid_domains = dict(trainer.by_domain)
    test = trainer.evaluate(test_data, load_best_model=False, show_progress=bar, count_items=True)
    recommended = trainer.ranks and trainer.ranks.recommended
    held_out = (valid_data._dataset, test_data._dataset)
    popularity = training_popularity(trainer.interactions, held_out)  # [item_num]
    trainable, total = count_parameters(trainer.model)
    seconds = [epoch["seconds"] for epoch in trainer.curve]
    result = {
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "valid": valid,
        "test": test,
        "domains": {"valid": valid_domains, "test": trainer.by_domain},
        "beyond_accuracy": beyond_accuracy(recommended, popularity) if recommended else None,
        "best_epoch": trainer.best_epoch,
        "epochs": len(seconds) or None,
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "curve": trainer.curve,
        "peak_memory_mib": peak_memory_mib(),
        "parameters": {"trainable": trainable, "total": total},
        "interests": getattr(trainer.model, "health", None),
        "checkpoint": trainer.saved_model_file,
        "data": trainer.data_identity,
        "counts": trainer.interactions.counts,
        "machine": machine(),
        "versions": versions(),
        "config": config.resolved,
    }
    getLogger().info("\n" + figures_table(result))
    if config["result_file"] and processes.rank() == 0:
        write_json(Path(config["result_file"]), result)
    if config["per_user"] and processes.rank() == 0:
        write_ranks(trainer, test_data._dataset, popularity)
    return result


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_ranks(trainer: Any, test: Any, popularity: Tensor) -> None:
    """Write ``per_user``: user, target, its rank and what is known of it, for each test row."""
    if trainer.ranks is None:
        raise UsageError(
            "--per_user: needs a ranking metric and one target a row, as with the default eval_args"
        )
    config = trainer.config
    columns = per_user_columns(trainer.ranks, test, trainer.interactions, popularity, config)
    identity = {key: config[key] for key in ("model", "dataset", "seed")}
    write_per_user(config["per_user"], columns, **identity)


def figures_table(result: dict[str, Any]) -> str:
    """The figures of a run as text."""
    rows = [("", *result["test"])]
    for phase in ("valid", "test"):
        rows.append((phase, *(f"{value:.4f}" for value in result[phase].values())))
    lines = ["  ".join(f"{cell:>9}" for cell in row) for row in rows]
    seconds = result["seconds_per_epoch"]
    lines.append(
        f"best epoch {result['best_epoch']} (from 0)"
        + (f" of {result['epochs']}, {seconds:.2f} s an epoch" if seconds else "")
        + f", peak memory {result['peak_memory_mib']:,.0f} MiB"
    )
    lines.append(f"checkpoint {result['checkpoint']}")
    return "\n".join(lines)
