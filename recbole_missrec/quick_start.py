"""One run: configuration, data, model, training, figures."""

from typing import Any

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.errors import UsageError
from recbole_missrec.outcome import report
from recbole_missrec.preparation import prepare, recbole_refuses
from recbole_missrec.registry import missing_package
from recbole_missrec.trainer.checkpoint import (
    LEAVES_MODEL,
    OF_A_TRAINED_MODEL,
    check_fields,
    check_unchanged,
    load_checkpoint,
    stored_options,
    write_card,
)

# of the model card: what it was trained on, with which features and options, and how well it does
ON_CARD = (
    *("model", "dataset", "seed", "data", "counts", "parameters", "config", "best_epoch"),
    *("valid", "test", "domains", "versions", "machine"),
)


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
        write_card(trainer.saved_model_file, {key: result[key] for key in ON_CARD})
        trainer.resume_file.unlink(missing_ok=True)  # until here the run can go on
    return result


def evaluate(checkpoint: str, command_line: dict[str, str]) -> dict[str, Any]:
    """Figures of a saved model: those that its training printed.

    Args:
        checkpoint: path of a best checkpoint.
        command_line: options that override the stored ones: where data and outputs are, metrics,
            which candidates (the mode in ``eval_args``), ``unseen_bias``.

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
    stored = stored_options(checkpoint)
    if checkpoint["model"] == "MISSRec":  # which refuses another since
        stored["worker"] = 0
    return Config(
        checkpoint["model"],
        checkpoint["dataset"],
        config_dict=stored,
        command_line=command_line,
    )
