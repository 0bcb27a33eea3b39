"""What stands for an interest: the items nearest to its centroid, and words of their titles."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

WORD = r"(?u)\b[^\W\d_][\w'’-]*\w\b"  # two letters or more, the first no digit


def typical_items(
    tokens: np.ndarray, ids: np.ndarray, centroids: np.ndarray, most: int
) -> np.ndarray:
    """The items of each interest that are nearest to its centroid.

    An item counts once, by its nearest token; of items as near the one with the lower index comes
    first. Time O(tokens (dim + log tokens)), memory that of the tokens of one modality.

    Args:
        tokens: ``[modalities, items, dim]``.
        ids: interest of each token, ``[modalities, items]``, -1 where a modality is absent.
        centroids: ``[interests, dim]``.
        most: items of an interest.

    Returns:
        Items, nearest first, int64 ``[interests, most]``; -1 where an interest has fewer.
    """
    parts = []
    for points, interest in zip(tokens, ids, strict=True):
        item = np.flatnonzero(interest >= 0)
        apart = points[item] - centroids[interest[item]]  # [present, dim]
        distance = np.square(apart).sum(1)
        parts.append(pd.DataFrame({"interest": interest[item], "item": item, "apart": distance}))
    pairs = pd.concat(parts).sort_values(["interest", "apart", "item"])
    pairs = _first(pairs.drop_duplicates(["interest", "item"]), most)
    found = np.full((len(centroids), most), -1)
    found[pairs["interest"], pairs["place"]] = pairs["item"]
    return found


def typical_words(
    titles: Sequence[str], ids: np.ndarray, interests: int, most: int
) -> list[list[str]]:
    """Words that many titles of an interest have, and few other interests.

    TF-IDF as scikit-learn computes it, an interest being a document: the number of its items whose
    title has the word, times ``1 + ln((1 + interests) / (1 + interests with the word))``. Of
    words of equal weight the first by the alphabet comes first. Time and memory grow as the words
    of all titles.

    Args:
        titles: of each item, ``[items]``; empty where there is none.
        ids: interest of each token, ``[modalities, items]``, -1 where a modality is absent.
        interests: number of them.
        most: words of an interest.

    Returns:
        Words, the best first, ``[interests][at most most]``.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(binary=True, token_pattern=WORD)
    try:
        in_titles = counter.fit_transform(titles)  # [items, words]
    except ValueError:  # there is not one word
        return [[] for _ in range(interests)]
    modality, item = np.nonzero(ids >= 0)
    pairs = np.unique(np.stack([ids[modality, item], item]), axis=1)  # an item counts once
    members = csr_matrix((np.ones(pairs.shape[1]), pairs), (interests, len(titles)))
    counts = members @ in_titles  # [interests, words]
    used = np.flatnonzero(members.getnnz(1))
    weights = TfidfTransformer(norm=None).fit_transform(counts[used]).tocoo()
    table = pd.DataFrame(
        {"interest": used[weights.row], "word": weights.col, "weight": weights.data}
    )
    table = table.sort_values(["interest", "weight", "word"], ascending=[True, False, True])
    best = _first(table, most)
    names = counter.get_feature_names_out()[best["word"]]  # in the order of the alphabet by index
    words: list[list[str]] = [[] for _ in range(interests)]
    for interest, word in zip(best["interest"], names, strict=True):
        words[interest].append(str(word))
    return words


def _first(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first rows of each interest, with their place among them."""
    place = table.groupby("interest").cumcount()
    return table.assign(place=place)[place < most]
