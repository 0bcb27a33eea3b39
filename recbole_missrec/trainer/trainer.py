"""Hooks on top of any RecBole trainer: interests, exact ranks, checkpoints that resume."""

import os
import time
from functools import partial
from typing import Any

import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.utils import calculate_valid_score, get_local_time
from torch import Tensor
from tqdm import tqdm

from recbole_missrec import processes
from recbole_missrec.data.rows import own_rows
from recbole_missrec.errors import Diverged
from recbole_missrec.evaluation.ranking import METRICS, ranking_metrics
from recbole_missrec.evaluation.targets import Interactions
from recbole_missrec.machine import release_free_memory
from recbole_missrec.trainer.averaging import WeightAverage
from recbole_missrec.trainer.checkpoint import load_checkpoint
from recbole_missrec.trainer.ranks import Ranks, metrics_by_domain, rank_targets, same_candidates
from recbole_missrec.trainer.resuming import ResumableTrainer, floats

# bars vanish when done, so that one line an epoch is what stays; none without a terminal
recbole_trainer.tqdm = partial(tqdm, leave=False, disable=None)


class HookedTrainer(ResumableTrainer):
    """Mixin in front of a RecBole trainer class.

    Attributes:
        interactions: of each user and item before the split; set before ``fit``.
        ranks: of the last evaluation with one target a row, None before.
        by_domain: its metrics by data set, where several are trained on together.
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
        self.discoveries: list[dict[str, Any]] = []
        self._resumed: dict[str, Any] | None = None
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        decay = config["ema_decay"]
        self._average = WeightAverage(model, decay, *self._optimizers.values()) if decay else None

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
                best = super().fit(train_data, valid_data, **{**kwargs, "verbose": False})
            except Diverged as error:
                raise Diverged(f"epoch {self._epoch}, {error}; {self._kept()}") from error
        if self.config["save_last"] and self.curve:
            self._save_model(self.last_file, self.curve[-1]["epoch"])
        return best

    def keep(self) -> None:
        """Keep the model as it is, its interests discovered: nothing is tuned."""
        self._discover_interests(0)
        self._save_checkpoint(-1)

    def _discover_interests(self, epoch: int) -> None:
        """The first process clusters, all have its interests."""
        if not processes.from_first(lambda: self.model.discover_interests(epoch)):
            return
        processes.broadcast([self.model.interest_ids, self.model.centroids])
        self.model.health = processes.from_first(lambda: self.model.health)
        self.discoveries.append({"epoch": epoch, **self.model.health})
        for key, value in self.model.health.items():
            self.tensorboard.add_scalar(f"Interests/{key}", value, epoch)

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
        self._begin_epoch(train_data, epoch_idx)
        self._epoch, self._checked = epoch_idx, 0
        start = time.perf_counter()
        release_free_memory()
        has_interests = hasattr(self.model, "discover_interests")
        if has_interests and epoch_idx and epoch_idx % self.config["interest_every"] == 0:
            self._discover_interests(epoch_idx)
        self._set_transform(train_data, epoch_idx)
        if self.config.is_own_model and self.config["single_spec"] and not self.enable_scaler:
            loss = self._train_batches(train_data, show_progress)
        else:
            loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        self._check_weights()
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
        self.curve[-1]["valid"] = floats(result)
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

    def _check_weights(self) -> None:
        """See to the weights after the last step of an epoch, which no loss tells of."""
        for name, weight in self.model.named_parameters():
            if not weight.isfinite().all():
                raise Diverged(
                    f"batch {self._checked - 1} (from 0): its step left numbers in {name} that are "
                    "not finite; try a lower --learning_rate"
                )

    def _kept(self) -> str:
        if self.best_epoch < 0:
            return "no checkpoint has been kept yet"
        return f"the best checkpoint, of epoch {self.best_epoch}, is {self.saved_model_file}"

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
        result: dict[str, float] = {}
        with same_candidates(self.config["seed"]):
            if metrics:
                self.ranks = rank_targets(self, eval_data, show_progress, count_items)
            if self.ranks is None or len(metrics) < len(self.config["metrics"]):
                others = super().evaluate(eval_data, False, show_progress=show_progress)
                result.update(floats(others))
        if self.ranks is not None:
            result.update(
                ranking_metrics(self.ranks.better, self.ranks.equal, metrics, self.config["topk"])
            )
            self.by_domain = metrics_by_domain(self.ranks, metrics, self.config)
        self.wandblogger.log_eval_metrics(result, head="eval")
        return result


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
