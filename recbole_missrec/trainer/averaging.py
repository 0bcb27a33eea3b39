"""A moving average of the weights over the steps of a training."""

from operator import index
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of the trainable weights, which validation and tests use.

    After each step ``average = d average + (1 - d) weights``, where d rises from 2 / 11 to the
    decay, so that early weights are forgotten. Its evaluations are less noisy than those of the
    last step's weights, and mostly a little better: Polyak and Juditsky, Acceleration of stochastic
    approximation by averaging, SIAM 1992.

    Time: one pass over the weights a step; memory: one copy of them.

    Args:
        model: its parameters that require a gradient are averaged.
        decay: of the average, below 1; 0.99 looks back some 100 steps.
        optimizers: after whose steps the average moves.

    Attributes:
        average: values of the parameters that are not in the model now.
        steps: how many were averaged.
    """

    def __init__(self, model: nn.Module, decay: float, *optimizers: torch.optim.Optimizer) -> None:
        self.decay = decay
        self.steps = 0
        self._weights: list[Tensor] = [
            weight for weight in model.parameters() if weight.requires_grad
        ]
        self.average = [weight.detach().clone() for weight in self._weights]
        self._in_model = False
        for optimizer in optimizers:
            optimizer.register_step_post_hook(self._update)

    @torch.no_grad()
    def _update(self, *_: Any) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, self._weights, 1 - decay)

    def put_in(self, averaged: bool) -> None:
        """Give the model the averages, to be evaluated, or its own weights, to be trained."""
        if averaged != self._in_model:
            for place, weight in enumerate(self._weights):
                weight.data, self.average[place] = self.average[place], weight.data
            self._in_model = averaged

    def state(self) -> dict[str, Any]:
        """For a checkpoint, while the model has its own weights."""
        return {"average": self.average, "steps": self.steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``.

        Raises:
            TypeError, ValueError: it is none.
        """
        self.steps = index(state["steps"])
        if self.steps < 0:
            raise ValueError(f"{self.steps} steps")
        for average, stored in zip(self.average, state["average"], strict=True):
            average.copy_(stored)
