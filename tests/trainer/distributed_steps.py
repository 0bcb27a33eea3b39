"""Three training steps, in one process or several: ``python -m tests.trainer.distributed_steps``.

Arguments: options as JSON, float32 or float64, file for the weights and the gradients.
"""

import json
import sys

import torch

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.quick_start import prepare

STEPS = 3


def main(options: str, dtype: str, out: str) -> None:
    given = json.loads(options)
    model, dataset = given.pop("model", "MISSRec"), given.pop("dataset")
    trainer, (train_data, _, _) = prepare(Config(model, dataset, config_dict=given))
    model = trainer.model.to(getattr(torch, dtype))
    if hasattr(model, "discover_interests"):
        trainer._discover_interests(0)
    trainer._set_transform(train_data, 0)
    gradients = []
    for _, batch in zip(range(STEPS), train_data, strict=False):
        trainer.optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        processes.average_gradients(trainer._trained)
        gradients.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
        trainer.optimizer.step()
    if processes.rank() == 0:
        torch.save({"weights": model.state_dict(), "gradients": gradients}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
