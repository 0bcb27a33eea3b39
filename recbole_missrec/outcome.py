"""After a run: the figures of its best checkpoint, on the terminal and in files."""

from logging import getLogger
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_missrec import processes
from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.beyond import beyond_accuracy
from recbole_missrec.evaluation.per_user import ONE_TARGET, write_per_user
from recbole_missrec.evaluation.targets import per_user_columns, training_popularity
from recbole_missrec.files import write_json
from recbole_missrec.machine import machine, peak_memory_mib, versions
from recbole_missrec.trainer.freezing import count_parameters


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
        "discoveries": trainer.discoveries,
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


def write_ranks(trainer: Any, test: Any, popularity: Tensor) -> None:
    """Write ``per_user``: user, target, its rank and what is known of it, for each test row."""
    if trainer.ranks is None:
        raise UsageError(ONE_TARGET)
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
