"""Some steps of a pre-training, timed part by part: what ``benchmarks.pretrain`` runs.

In one process, or under ``torchrun``. Arguments: name of a data set, options of the run as JSON,
steps to warm up, steps to measure, whether to discover interests, and the file for the figures.
"""

import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.data.feature_store import FeatureStore
from recbole_missrec.evaluation.ranking import count_ranks
from recbole_missrec.files import write_json
from recbole_missrec.machine import peak_memory_mib
from recbole_missrec.paths import props_dir
from recbole_missrec.preparation import prepare


class Clock:
    """Seconds of each part; a part within another does not count for that one.

    Attributes:
        seconds: of each part.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within: list[float] = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        self._within.append(0.0)
        yield
        taken = time.perf_counter() - start
        self.seconds[name] += taken - self._within.pop()
        self._within[-1] += taken


def main(
    dataset: str, options: dict[str, Any], warm_up: int, steps: int, discover: bool
) -> dict[str, Any]:
    """Prepare, discover, train, rank; figures of this process."""
    files = [str(props_dir() / "pretrain.yaml")]
    trainer, (train_data, valid_data, _) = prepare(Config("MISSRec", dataset, files, options))
    started = time.time() - psutil.Process().create_time()
    start = time.perf_counter()
    if discover:
        trainer._discover_interests(0)
    else:
        assign(trainer.model)
    discovery = time.perf_counter() - start
    clock = Clock()
    watch(clock)
    train(trainer, train_data, clock, warm_up, steps)
    found = {
        "start_up_seconds": started,
        "discovery_seconds": discovery if discover else None,
        "sequences": len(train_data._dataset),
        "batch": trainer.config["train_batch_size"],
        "steps_per_epoch": len(train_data),
        "step_seconds": {part: seconds / steps for part, seconds in clock.seconds.items()},
    }
    return found | rank(trainer, valid_data) | {"peak_memory_mib": peak_memory_mib()}


def assign(model: Any) -> None:
    """Interests at random: time and memory of a step do not depend on which they are."""
    torch.manual_seed(0)
    clusters = len(model.centroids) - 1
    model.interest_ids.copy_(torch.randint(clusters, model.interest_ids.shape))
    model.centroids.normal_()


def watch(clock: Clock) -> None:
    """Time the reading of features from their files apart."""
    read = FeatureStore.__getitem__

    def timed(store: FeatureStore, items: Any) -> Any:
        with clock.part("features"):
            return read(store, items)

    FeatureStore.__getitem__ = timed  # type: ignore[method-assign]


def train(trainer: Any, train_data: Any, clock: Clock, warm_up: int, steps: int) -> None:
    """What an epoch does, of which the first steps do not count."""
    trainer._set_transform(train_data, 0)
    model, optimizer = trainer.model.train(), trainer.optimizer
    batches = iter(train_data)
    for number in range(warm_up + steps):
        if number == warm_up:
            clock.seconds.clear()
        with clock.part("batch"):
            batch = next(batches)
        with clock.part("forward"):
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
        with clock.part("backward"):
            loss.backward()
        with clock.part("exchange"):
            processes.average_gradients(trainer._trained)
        with clock.part("optimiser"):
            optimizer.step()


def rank(trainer: Any, valid_data: Any) -> dict[str, Any]:
    """Seconds to adapt all items and to rank a batch of validation, and its number of batches."""
    valid_data.transform = trainer.model.packer()
    model = trainer.model.eval()
    batch, *_ = next(iter(valid_data))
    taken = []
    for _ in range(2):  # the first time adapts all items
        start = time.perf_counter()
        count_ranks(model.full_sort_predict(batch), batch[model.POS_ITEM_ID])
        taken.append(time.perf_counter() - start)
    return {"items_seconds": taken[0] - taken[1], "rank_seconds": taken[1]} | {
        "validation_batches": len(valid_data)
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    name, given, warm_up, steps, discover, out = sys.argv[1:]
    own = main(name, json.loads(given), int(warm_up), int(steps), bool(int(discover)))
    figures = processes.of_all(own)
    if processes.rank() == 0:
        highest = max(each["peak_memory_mib"] for each in figures)
        write_json(Path(out), figures[0] | {"peak_memory_mib": highest})
