"""Text features without a pre-trained model: TF-IDF and a truncated SVD (latent semantics)."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from recbole_missrec.errors import UsageError

NAME = "TF-IDF + truncated SVD"


def encode(texts: Sequence[str], dim: int = 128) -> np.ndarray:
    """Encode texts (Deerwester et al., 1990). The same texts give the same features.

    Time and memory grow with the number of distinct words per text and with ``texts * dim``.

    Args:
        texts: one per item.
        dim: number of latent dimensions; fewer if texts or distinct words are fewer.

    Returns:
        float32 ``[texts, dim]``, rows of length 1, or zero for a text without words.

    Raises:
        UsageError: fewer than two words or two texts.
    """
    try:
        counts = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)  # [texts, words]
    except ValueError as error:
        raise UsageError("the item texts have no words to make features of") from error
    rank = min(dim, min(counts.shape) - 1)
    if rank < 1:
        raise UsageError("text features need two items and two words at least")
    # not ARPACK: where singular values are equal, its result differs from call to call
    latent = TruncatedSVD(rank, n_iter=10, random_state=0).fit_transform(counts)
    latent[counts.getnnz(axis=1) == 0] = 0
    return normalize(latent).astype(np.float32)
