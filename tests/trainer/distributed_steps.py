"""Three training steps, in one process or several: ``python -m tests.trainer.distributed_steps``.

Arguments: options of each form as JSON, and a file for weights and gradients by form and dtype.
"""

import json
import sys
from typing import Any

import torch

from recbole_missrec import processes
from recbole_missrec.config import Config
from recbole_missrec.preparation import prepare

STEPS = 3


def steps(options: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Gradients of each step, and the weights after the last one."""
    given = {"model": "MISSRec", **options}
    trainer, (train_data, _, _) = prepare(
        Config(given.pop("model"), given.pop("dataset"), config_dict=given)
    )
    model = trainer.model.to(dtype)
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
    return {"weights": model.state_dict(), "gradients": gradients}


if __name__ == "__main__":
    found = {
        form: {str(dtype): steps(options, dtype) for dtype in (torch.float64, torch.float32)}
        for form, options in json.loads(sys.argv[1]).items()
    }
    if processes.rank() == 0:
        torch.save(found, sys.argv[2])
