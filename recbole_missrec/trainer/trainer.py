"""Hooks on top of any RecBole trainer: interests, exact ranks, checkpoints that resume."""

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.data.dataloader import KnowledgeBasedDataLoader
from recbole.utils import calculate_valid_score, get_local_time
from torch import Tensor
from tqdm import tqdm

from recbole_missrec import processes
from recbole_missrec.data.rows import own_rows
from recbole_missrec.errors import Diverged, UsageError
from recbole_missrec.evaluation.ranking import METRICS, ranking_metrics
from recbole_missrec.evaluation.targets import Interactions
from recbole_missrec.machine import release_free_memory
from recbole_missrec.trainer.averaging import WeightAverage
from recbole_missrec.trainer.checkpoint import (
    LEAVES_TRAINING,
    OF_A_RUN,
    check_fields,
    check_unchanged,
    load_checkpoint,
    load_weights,
    random_state,
    save_checkpoint,
    set_random_state,
)
from recbole_missrec.trainer.ranks import Ranks, metrics_by_domain, rank_targets

# bars vanish when done, so that one line an epoch is what stays; none without a terminal
recbole_trainer.tqdm = partial(tqdm, leave=False, disable=None)

if TYPE_CHECKING:
    from recbole.trainer import Trainer as Base
else:
    Base = object


class HookedTrainer(Base):
    """Mixin in front of a RecBole trainer class.

    Attributes:
        data_identity: digests of items and features, kept in checkpoints; set before ``fit``.
        interactions: of each user and item before the split; set likewise.
        ranks: of the last evaluation with one target a row, None before.
        by_domain: its metrics by data set, where several are trained on together.
        best_epoch: epoch of the best validation, -1 before.
        curve: of each epoch its number, training seconds (discovery included but for the first),
            mean loss of a batch, and metrics on validation or None.
        resume_file: state to go on from, written before each epoch; to be removed when all is
            reported.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        name = f"{config['model']}-{config['dataset']}-{config['seed']}"
        name += processes.from_first(lambda: f"-{get_local_time()}-{os.getpid()}.pth")
        self.saved_model_file = os.path.join(config["checkpoint_dir"], name)
        self.data_identity: dict[str, Any] = {}
        self.interactions: Interactions | None = None
        self.ranks: Ranks | None = None
        self.by_domain: dict[str, dict[str, float]] = {}
        self.best_epoch = -1
        self.curve: list[dict[str, Any]] = []
        self._resumed: dict[str, Any] | None = None
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        decay = config["ema_decay"]
        self._average = WeightAverage(model, decay, self.optimizer) if decay else None

    @property
    def resume_file(self) -> Path:
        """Beside the best checkpoint."""
        return Path(self.saved_model_file).with_suffix(".resume")

    # --- training ---------------------------------------------------------------------------

    def fit(self, train_data: Any, valid_data: Any = None, **kwargs: Any) -> Any:
        """RecBole's ``fit``, with one line an epoch instead of several."""
        if hasattr(self.model, "discover_interests") and self.start_epoch == 0:
            self._discover_interests(0)
        with tqdm(
            desc="epochs",
            total=self.epochs,
            initial=self.start_epoch,
            disable=None if kwargs.get("show_progress") else True,
            leave=False,
        ) as bar:
            self._epoch_bar = bar
            try:
                return super().fit(train_data, valid_data, **{**kwargs, "verbose": False})
            except Diverged as error:
                raise Diverged(f"epoch {self._epoch}, {error}; {self._kept()}") from error

    def keep(self) -> None:
        """Keep the model as it is, its interests discovered: nothing is tuned."""
        self._discover_interests(0)
        self._save_checkpoint(-1)

    def _discover_interests(self, epoch: int) -> None:
        """The first process clusters, all have its interests."""
        processes.from_first(lambda: self.model.discover_interests(epoch))
        processes.broadcast([self.model.interest_ids, self.model.centroids])
        self.model.health = processes.from_first(lambda: self.model.health)

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        """RecBole's choice; for own models Adam in one kernel, which is faster."""
        optimizer = super()._build_optimizer(**kwargs)
        if self.config.is_own_model and isinstance(optimizer, torch.optim.Adam):  # AdamW is one
            for group in optimizer.param_groups:
                group["fused"] = True
        return optimizer

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        if self._average:
            self._average.put_in(False)
        if self._resumed is None:
            self._save_resume_state(train_data, epoch_idx)
        else:
            shuffles = torch.atleast_2d(self._resumed["shuffle"].cpu())
            for generator, state in zip(_generators(train_data), shuffles, strict=True):
                generator.set_state(state)
            set_random_state(self._resumed["random"][processes.rank()])
            self._resumed = None
        self._epoch, self._checked = epoch_idx, 0
        start = time.perf_counter()
        release_free_memory()
        if hasattr(self.model, "discover_interests"):
            if epoch_idx and epoch_idx % self.config["interest_every"] == 0:
                self._discover_interests(epoch_idx)
            for key, value in self.model.health.items():
                self.tensorboard.add_scalar(f"Interests/{key}", value, epoch_idx)
        self._set_transform(train_data, epoch_idx)
        if self.config.is_own_model and self.config["single_spec"] and not self.enable_scaler:
            loss = self._train_batches(train_data, show_progress)
        else:
            loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        if self._average:
            self._average.put_in(True)
        release_free_memory()
        seconds = time.perf_counter() - start
        total = sum(loss) if isinstance(loss, tuple) else loss
        mean_loss = float(total or 0) / len(train_data)
        self.curve.append(
            {"epoch": epoch_idx, "seconds": seconds, "loss": mean_loss, "valid": None}
        )
        self._epoch_line = f"epoch {epoch_idx:>3}  {seconds:6.1f} s  loss {mean_loss:.4f}"
        self._epoch_bar.update()
        if self.eval_step <= 0 or (epoch_idx + 1) % self.eval_step:  # no validation follows
            self.logger.info(self._epoch_line)
        return loss

    def _set_transform(self, train_data: Any, epoch: int) -> None:
        """Have the loader lay batches out, and take this process's rows of them."""
        if hasattr(self.model, "training_packer"):
            train_data.transform = self.model.training_packer(epoch)
        elif processes.world_size() > 1:
            train_data.transform = own_rows

    def _train_batches(self, train_data: Any, show_progress: bool) -> float:
        """RecBole's epoch of one process, without waiting for the device in any step."""
        self.model.train()
        losses = torch.zeros(len(train_data), device=self.device)
        bar = recbole_trainer.tqdm(
            train_data, desc="train", disable=None if show_progress else True
        )
        for number, batch in enumerate(bar):
            batch = batch.to(self.device)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.enable_amp):
                loss = self.model.calculate_loss(batch)
            loss.backward()
            processes.average_gradients(self._trained)
            if self.clip_grad_norm:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            self.optimizer.step()
            losses[number] = loss.detach()
        losses = processes.total(losses) / processes.world_size()
        self._check_nan(losses)
        return float(losses.sum())

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict]:
        result = self.evaluate(valid_data, load_best_model=False, show_progress=show_progress)
        self.curve[-1]["valid"] = _floats(result)
        if self.by_domain:
            self.curve[-1]["domains"] = self.by_domain
        for domain, figures in self.by_domain.items():
            self.logger.info(f"  {domain}: {_shown(figures)}")
        score = calculate_valid_score(result, self.valid_metric)
        sign = 1 if self.valid_metric_bigger else -1
        is_best = sign * score >= sign * self.best_valid_score
        self.logger.info(
            f"{self._epoch_line}  valid: {_shown(result)}{'  best' if is_best else ''}"
        )
        return score, result

    def _check_nan(self, losses: Tensor) -> None:
        """See to the loss of the next batch, as RecBole's loop asks, or to those of an epoch."""
        wrong = losses.detach().flatten().isnan().nonzero()
        if len(wrong):
            batch = self._checked + int(wrong[0])
            raise Diverged(
                f"batch {batch} (from 0): the training loss is not a number; try a lower "
                "--learning_rate"
            )
        self._checked += losses.numel()

    def _kept(self) -> str:
        if self.best_epoch < 0:
            return "no checkpoint has been kept yet"
        return f"the best checkpoint, of epoch {self.best_epoch}, is {self.saved_model_file}"

    # --- checkpoints ------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "config": self.config.resolved,
            "data": self.data_identity,
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
        }

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        self.best_epoch = epoch
        content = {**self._state(), "epoch": epoch, "curve": self.curve}
        processes.from_first(lambda: save_checkpoint(self.saved_model_file, content))

    def _save_resume_state(self, train_data: Any, epoch: int) -> None:
        """Everything that the rest of a run depends on, as it is before an epoch."""
        content = {
            **self._state(),
            "epoch": epoch,
            "best_epoch": self.best_epoch,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": _floats(self.best_valid_result or {}),
            "cur_step": self.cur_step,
            "curve": self.curve,
            "optimizer": self.optimizer.state_dict(),
            "average": self._average.state() if self._average else None,
            "shuffle": torch.stack([g.get_state() for g in _generators(train_data)]),
            "random": processes.of_all(random_state()),  # draws of dropout differ
        }
        processes.from_first(lambda: save_checkpoint(self.resume_file, content))

    def resume(self, path: str | Path) -> None:
        """Go on where an interrupted run was; to be called before ``fit``.

        Args:
            path: the ``.resume`` file of the run.

        Raises:
            UsageError: not the state of an unfinished run, or one of other options or data.
        """
        state = load_checkpoint(path)
        if "optimizer" not in state:
            raise UsageError(f"--resume={path}: this run is finished; see the command `evaluate`")
        check_fields(path, state, OF_A_RUN)
        check_unchanged(state["config"], self.config.resolved, LEAVES_TRAINING)
        if len(state["random"]) != processes.world_size():
            raise UsageError(
                f"--resume={path}: of {len(state['random'])} processes, these are "
                f"{processes.world_size()}; start as many with torchrun"
            )
        if self.epochs <= state["epoch"]:
            raise UsageError(
                f"--epochs={self.epochs}: the run has done {state['epoch']} epochs; give more"
            )
        self.saved_model_file = str(Path(path).with_suffix(".pth"))
        self._load(path, state)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if self._average:
                self._average.load_state(state["average"])
            sum(epoch["seconds"] for epoch in state["curve"])
            for shuffle in torch.atleast_2d(state["shuffle"].cpu()):
                torch.Generator().set_state(shuffle)
            set_random_state(state["random"][processes.rank()])
        except Exception as error:  # each of these fails in its own way
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"--resume={path}: damaged: {reason}") from error
        self.start_epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self.cur_step, self.curve = state["cur_step"], state["curve"]
        self._resumed = state

    def _load(self, path: str | Path, state: dict[str, Any]) -> None:
        load_weights(path, state, self.model, self.data_identity)

    # --- evaluation -------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
        count_items: bool = False,
    ) -> dict[str, float]:
        """Metrics over all rows, unrounded; at ties the mean over the possible ranks.

        Metrics that are no function of one target's rank, and rows of several targets, are left
        to RecBole.

        Args:
            eval_data: an evaluation data loader of RecBole.
            load_best_model: load the best checkpoint first.
            model_file: load this checkpoint instead.
            show_progress: show a bar.
            count_items: count in ``ranks`` how often each item is recommended, too.

        Returns:
            Name to value, such as ``recall@10``.

        Raises:
            Diverged: a score is not a number.
        """
        if load_best_model:
            path = model_file or self.saved_model_file
            self._load(path, load_checkpoint(path, self.device))
        self.model.eval()
        metrics = [name for name in self.config["metrics"] if name.lower() in METRICS]
        self.ranks = None
        if metrics:
            self.ranks = rank_targets(self, eval_data, show_progress, count_items)
        result: dict[str, float] = {}
        if self.ranks is None or len(metrics) < len(self.config["metrics"]):
            result.update(super().evaluate(eval_data, False, show_progress=show_progress))
        if self.ranks is not None:
            result.update(
                ranking_metrics(self.ranks.better, self.ranks.equal, metrics, self.config["topk"])
            )
            self.by_domain = metrics_by_domain(self.ranks, metrics, self.config)
        self.wandblogger.log_eval_metrics(result, head="eval")
        return result


def _floats(figures: Mapping[str, Any]) -> dict[str, float]:
    """As checkpoints and JSON keep them: RecBole's are NumPy's."""
    return {name: float(value) for name, value in figures.items()}


def _generators(train_data: Any) -> list[torch.Generator]:
    """What shuffles the rows; models with a knowledge graph read two loaders at once."""
    if isinstance(train_data, KnowledgeBasedDataLoader):
        return [train_data.general_dataloader.generator, train_data.kg_dataloader.generator]
    return [train_data.generator]


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
