"""A trainer's checkpoints: the best model, and all that the rest of a run depends on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from recbole.data.dataloader import KnowledgeBasedDataLoader

from recbole_missrec import processes
from recbole_missrec.errors import UsageError
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
    stored_options,
)

if TYPE_CHECKING:
    from recbole.trainer import Trainer as Base
else:
    Base = object


class ResumableTrainer(Base):
    """Mixin in front of a RecBole trainer class; what mixes it in makes the parts named here.

    Attributes:
        data_identity: digests of items and features, kept in checkpoints; set before ``fit``.
        best_epoch: epoch of the best validation, -1 before.
        curve: of each epoch its number, training seconds (discovery included but for the first),
            mean loss of a batch, and metrics on validation or None.
        discoveries: epoch and health of the interests of each discovery, see ``Health``.
        resume_file: state to go on from, written before each epoch; to be removed when all is
            reported.
    """

    data_identity: dict[str, Any]
    best_epoch: int
    curve: list[dict[str, Any]]
    discoveries: list[dict[str, Any]]
    _average: WeightAverage | None
    _resumed: dict[str, Any] | None  # until the first epoch has taken it up

    @property
    def resume_file(self) -> Path:
        """Beside the best checkpoint."""
        return Path(self.saved_model_file).with_suffix(".resume")

    @property
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By attribute; where a trainer has several, ``optimizer`` is now the one, now another."""
        found = {k: v for k, v in vars(self).items() if isinstance(v, torch.optim.Optimizer)}
        if len(found) > 1:
            del found["optimizer"]
        return found

    @property
    def _counters(self) -> dict[str, Any]:
        """What a model of RecBole keeps beside its weights: numbers and tensors, such as steps."""
        if self.config.is_own_model:
            return {}
        return {key: value for key, value in vars(self.model).items() if _is_counter(value)}

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "config": self.config.resolved,
            "data": self.data_identity,
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
        }

    @property
    def last_file(self) -> Path:
        """Model of the last epoch, beside the best one, where the option ``save_last`` asks."""
        return Path(self.saved_model_file).with_suffix(".last")

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        self.best_epoch = epoch
        self._save_model(Path(self.saved_model_file), epoch)

    def _save_model(self, path: Path, epoch: int) -> None:
        self.model.eval()  # as it is evaluated, without a validation too
        content = {**self._state(), "epoch": epoch, "curve": self.curve}
        processes.from_first(lambda: save_checkpoint(path, content))

    def _begin_epoch(self, train_data: Any, epoch: int) -> None:
        """Save what the rest of a run depends on, or draw on as a resumed one would have."""
        if self._resumed is None:
            self._save_resume_state(train_data, epoch)
            return
        states = _shuffles(self._resumed)
        for generator, state in zip(_generators(train_data), states, strict=True):
            generator.set_state(state)
        set_random_state(self._resumed["random"][processes.rank()])
        self._resumed = None

    def _save_resume_state(self, train_data: Any, epoch: int) -> None:
        """Everything that the rest of a run depends on, as it is before an epoch."""
        content = {
            **self._state(),
            "epoch": epoch,
            "best_epoch": self.best_epoch,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": floats(self.best_valid_result or {}),
            "cur_step": self.cur_step,
            "curve": self.curve,
            "discoveries": self.discoveries,
            "optimizer": {name: o.state_dict() for name, o in self._optimizers.items()},
            "counters": self._counters,
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
        state.setdefault("discoveries", [])  # of before they were kept
        check_fields(path, state, OF_A_RUN)
        check_unchanged(stored_options(state), self.config.resolved, LEAVES_TRAINING)
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
            for name, optimizer in self._optimizers.items():
                optimizer.load_state_dict(state["optimizer"][name])
            for name in self._counters:  # of the model as it is; a file adds nothing to it
                setattr(self.model, name, state["counters"][name])
            if self._average:
                self._average.load_state(state["average"])
            sum(epoch["seconds"] for epoch in state["curve"])
            earlier = [one for one in state["discoveries"] if one["epoch"] < state["epoch"]]
            for shuffle in _shuffles(state):
                torch.Generator().set_state(shuffle)
            set_random_state(state["random"][processes.rank()])
        except Exception as error:  # each of these fails in its own way
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"--resume={path}: damaged: {reason}") from error
        self.start_epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self.cur_step, self.curve = state["cur_step"], state["curve"]
        self.discoveries = earlier
        self._resumed = state

    def _load(self, path: str | Path, state: dict[str, Any]) -> None:
        load_weights(path, state, self.model, self.data_identity)


def floats(figures: Mapping[str, Any]) -> dict[str, float]:
    """As checkpoints and JSON keep them: RecBole's are NumPy's."""
    return {name: float(value) for name, value in figures.items()}


def _is_counter(value: Any) -> bool:
    return type(value) in (int, float) or isinstance(value, torch.Tensor) and not value.is_sparse


def _shuffles(state: Mapping[str, Any]) -> list[torch.Tensor]:
    """State of each generator that shuffles, copied: torch 2.13 crashes on a row of a tensor."""
    return [row.clone() for row in torch.atleast_2d(state["shuffle"].cpu())]


def _generators(train_data: Any) -> list[torch.Generator]:
    """What shuffles the rows; models with a knowledge graph read two loaders at once."""
    if isinstance(train_data, KnowledgeBasedDataLoader):
        return [train_data.general_dataloader.generator, train_data.kg_dataloader.generator]
    return [train_data.generator]
