"""Texts that lost some of their words, for the augmented copies of pre-training."""

import random
from collections.abc import Iterable, Mapping

from dataset_builders.encoders.interface import Encoder
from recbole_missrec.errors import UsageError

RATE = 0.2
SEED = 0


def check_rate(rate: float) -> None:
    """See that a share of words can be dropped.

    Raises:
        UsageError: not between 0 and 1, both left out.
    """
    if not 0 < rate < 1:
        raise UsageError(f"--augmented-text {rate:g}: must be above 0 and below 1, like {RATE}")


def check_encoders(encoders: Iterable[Encoder]) -> None:
    """See that one of them puts augmented texts into the space of the texts.

    Raises:
        UsageError: there is none for texts, or it learns a space of whatever texts it is given.
    """
    encoder = next((encoder for encoder in encoders if encoder.modality == "text"), None)
    if encoder is None:
        raise UsageError("--augmented-text: nothing is encoded as text")
    if encoder.whole:
        raise UsageError(
            f"--augmented-text: {encoder.name} would make another space of the augmented texts; "
            "choose another --text, such as minilm"
        )


def drop_words(texts: Mapping[str, str], rate: float, seed: int = SEED) -> dict[str, str]:
    """Drop each word of each text with the same probability.

    A text that would lose all its words keeps one. What an item loses depends on the seed and on
    the item alone, whatever other items there are.

    Args:
        texts: raw item token -> text.
        rate: the probability.
        seed: of the draws.

    >>> drop_words({"B01": "green tea with mint", "B02": "tea"}, rate=0.5)
    {'B01': 'with mint', 'B02': 'tea'}
    """
    return {
        item: _drop(text, rate, random.Random(f"{seed} {item}")) for item, text in texts.items()
    }


def _drop(text: str, rate: float, rng: random.Random) -> str:
    words = text.split()
    kept = [word for word in words if rng.random() >= rate]
    return " ".join(kept or [rng.choice(words)] if words else [])
