"""Before a run: its data, its model and its trainer, all checked."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import recbole.data.utils
import torch
from recbole.data import data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import EvaluatorType, ModelType, init_logger, init_seed

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.data.dataset import data_identity
from recbole_missrec.data.domains import domains
from recbole_missrec.data.loaders import OneDomainLoader
from recbole_missrec.data.locate import find_files
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import ONE_TARGET, check_pairs
from recbole_missrec.evaluation.ranking import METRICS
from recbole_missrec.evaluation.targets import count_interactions
from recbole_missrec.files import check_writable
from recbole_missrec.registry import get_dataset_class, get_model, get_trainer
from recbole_missrec.trainer.freezing import count_parameters, freeze
from recbole_missrec.trainer.lora import add_lora
from recbole_missrec.trainer.transfer import start_from

# RecBole would unpickle a file of a certain name in the folder of checkpoints, and run its code
recbole.data.utils.load_split_dataloaders = lambda config: None
# of an evaluation batch, at most: its memory grows neither with the items nor with the histories
SCORES = 2**26
HISTORY_ITEMS = 2**18
# Folders that RecBole makes where it is run: made here, since it stops if another run is first.
RECBOLE_LOGS = ("log/{model}", "log_tensorboard")


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
    with recbole_may_refuse(config):
        dataset = get_dataset_class(config)(config)
        identity = data_identity(dataset)  # before the split, which consumes the interactions
        interactions = count_interactions(dataset)
        rows = evaluation_rows(dataset.item_num, config["MAX_ITEM_LIST_LENGTH"])
        config["eval_batch_size"] = min(
            config["eval_batch_size"], rows
        )  # RecBole's loaders read it
        loaders = data_preparation(config, dataset)
        check_parts(config, loaders)
        if "mix_domains" in config and not config["mix_domains"]:
            given = loaders[0]._dataset, loaders[0]._sampler
            loaders = (OneDomainLoader(config, *given, shuffle=config["shuffle"]), *loaders[1:])
        init_seed(config["seed"], config["reproducibility"])
        model = get_model(config["model"])(config, loaders[0]._dataset).to(config["device"])
    if "pretrain" in str(config["train_stage"]):
        raise UsageError(
            f"--train_stage={config['train_stage']}: RecBole pre-trains {config['model']} by a "
            "loop of its own, whose files are not read here; choose another model"
        )
    if config["pretrained"] and start:
        start_from(config["pretrained"], model, identity["encoders"])
    if config["tune"] == "lora":
        add_lora(model, config["lora_rank"])
    if config["tune"]:
        freeze(model, config["tune"])
    trainable, total = count_parameters(model)
    if start and config["tune"] and trainable < total and not config["pretrained"]:
        logger.warning(
            f"--tune={config['tune']}: without --pretrained=FILE what is not tuned stays as it was "
            "drawn"
        )
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


@contextmanager
def recbole_may_refuse(config: Config) -> Iterator[None]:
    """Turn whatever RecBole raises into one message.

    Raises:
        UsageError: RecBole refuses, or what is run says so itself.
    """
    try:
        with _no_pickles():
            yield
    except UsageError:
        raise
    except Exception as error:  # RecBole lets an option of another type fail wherever it is used
        raise recbole_refuses(config, error) from error


@contextmanager
def _no_pickles() -> Iterator[None]:
    """Keep numpy from running code of a data set's files, which LDiffRec asks it to."""
    load = np.load

    def load_plain(*args: Any, **options: Any) -> Any:
        return load(*args, **{**options, "allow_pickle": False})

    np.load = load_plain
    try:
        yield
    finally:
        np.load = load


def recbole_refuses(config: Config, error: Exception) -> UsageError:
    """What to say where RecBole fails at options, or at data, that it does not check."""
    getLogger().debug("refused by RecBole:", exc_info=error)
    reason = " ".join(str(error).split())
    return UsageError(
        f"--dataset={config['dataset']} --model={config['model']}: RecBole refuses them: "
        f"{type(error).__name__}: {reason} (--state=debug shows where)"
    )


def _check_ranking(config: Config, lists: list[str], loaders: Iterable[Any]) -> None:
    """Of several data sets a target is ranked among the items of its own, which RecBole cannot."""
    alone = "a target of several data sets is ranked among the items of its own"
    if lists:
        raise UsageError(f"--metrics: {alone}, {lists[0]} is of all items; leave it out")
    for loader in loaders:
        if not isinstance(loader, FullSortEvalDataLoader):
            raise UsageError(f"--eval_args: {alone}, which are not sampled; set its mode to full")
        rows = loader._dataset
        several = len(rows.inter_feat[rows.uid_field].unique()) < len(rows)
        if several and config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
            raise UsageError(f"--eval_args: {alone}; set its split to {{LS: valid_and_test}}")


def check_parts(config: Config, loaders: tuple[Any, Any, Any]) -> None:
    """See that there is something to train on, to choose by and to report.

    Raises:
        UsageError: a part without rows, too few items for the metrics, several data sets that
            would be ranked together, or test rows that ``per_user`` cannot hold.
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
    if len(domains(config)) > 1:
        _check_ranking(config, lists, loaders[1:])
    if config["per_user"]:
        test = loaders[2]._dataset
        fields = test.uid_field, test.iid_field
        repeated = len(test.inter_feat[test.uid_field].unique()) < len(test)
        if repeated and config["MODEL_TYPE"] != ModelType.SEQUENTIAL:  # a row for each user
            raise UsageError(ONE_TARGET)
        tokens = (test.field2id_token[field][test.inter_feat[field].numpy()] for field in fields)
        check_pairs(config["per_user"], *tokens)
