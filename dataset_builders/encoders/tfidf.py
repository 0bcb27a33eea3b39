"""Text features without a pre-trained model: TF-IDF and a truncated SVD (latent semantics)."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import normalize

from dataset_builders.encoders.interface import Encoder, Loaded, Rows
from recbole_missrec.errors import UsageError

NAME = "TF-IDF + truncated SVD"
DIM = 128
MOST_TEXTS = 100_000  # that words and latent dimensions are learned of
MOST_WORDS = 100_000
BLOCK = 10_000  # texts that become rows at a time


def encoder() -> Encoder:
    """The encoder, 128 dimensions, or fewer if texts or distinct words are fewer."""
    # "of its inputs": features of before their name said so are made again
    identity = f"{NAME} of its inputs {DIM} {MOST_TEXTS} {MOST_WORDS}"
    return Encoder("text", NAME, identity, lambda device: Loaded(_encode), whole=True)


def encode(texts: Sequence[str], dim: int = DIM) -> np.ndarray:
    """Encode texts (Deerwester et al., 1990). The same texts give the same features.

    Words and latent dimensions are learned of all texts, or of 100,000 evenly spaced ones and
    their 100,000 most frequent words, so that memory beside the rows stays below a GiB; time grows
    with the number of distinct words per text and with ``texts * dim``.

    Args:
        texts: one per item.
        dim: number of latent dimensions; fewer if texts or distinct words are fewer.

    Returns:
        float32 ``[texts, dim]``, rows of length 1, or zero for a text without known words.

    Raises:
        UsageError: fewer than two words or two texts.
    """
    return np.concatenate([rows for _, rows in _encode(texts, dim)])


def _encode(texts: Sequence[str], dim: int = DIM) -> Rows:
    model = _learn(texts[:: max(1, -(-len(texts) // MOST_TEXTS))], dim)
    for start in range(0, len(texts), BLOCK):
        latent = model.transform(texts[start : start + BLOCK])  # [block, dim]
        yield slice(start, start + len(latent)), normalize(latent).astype(np.float32)


def _learn(texts: Sequence[str], dim: int) -> Pipeline:
    words = TfidfVectorizer(sublinear_tf=True, max_features=MOST_WORDS)
    try:
        counts = words.fit_transform(texts)  # [texts, words]
    except ValueError as error:
        raise UsageError("the item texts have no words to make features of") from error
    rank = min(dim, min(counts.shape) - 1)
    if rank < 1:
        raise UsageError("text features need two items and two words at least")
    # not ARPACK: where singular values are equal, its result differs from call to call
    latent = TruncatedSVD(rank, n_iter=10, random_state=0).fit(counts)
    return make_pipeline(words, latent)
