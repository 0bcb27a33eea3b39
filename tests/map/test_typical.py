"""Typical items and words on interests made by hand."""

import numpy as np

from recbole_missrec.map.typical import typical_items, typical_words

# Two modalities of five items in one dimension, three interests; 0 stands for an absent token.
TOKENS = np.array([[[1.0], [2], [3], [10], [0]], [[2.0], [9], [0], [12], [0]]])
IDS = np.array([[0, 0, 0, 1, -1], [0, 1, -1, 1, -1]])
CENTROIDS = np.array([[2.0], [10], [50]])


def test_items_nearest_to_the_centroid() -> None:
    # Interest 0: item 0 by its second token and item 1 are at it, item 2 is one off. Interest 1:
    # item 3 is at it, item 1 one off, and the second token of item 3 does not count again.
    assert typical_items(TOKENS, IDS, CENTROIDS, 2).tolist() == [[0, 1], [3, 1], [-1, -1]]
    assert typical_items(TOKENS, IDS, CENTROIDS, 4).tolist() == [
        [0, 1, 2, -1],
        [3, 1, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_of_items_as_near_the_lower_index_comes_first() -> None:
    tokens = np.array([[[3.0], [1], [2], [1], [3]]])
    ids = np.zeros((1, 5), int)
    assert typical_items(tokens, ids, np.array([[2.0]]), 5).tolist() == [[2, 0, 1, 3, 4]]


def test_words_of_an_interest_that_others_have_not() -> None:
    titles = ["Green tea", "black TEA tin", "tea pot", "tin pot", ""]
    ids = np.array([[0, 0, 1, 1, 1], [-1, 0, 1, -1, 1]])
    # Weight: items with the word, times 1 + ln(3 / (1 + interests with it)), 1.405 for a word of
    # one interest and 1 for a word of both. Interest 0: tea 2 * 1, black and green 1.405, tin 1.
    # Interest 1: pot 2 * 1.405, tea and tin 1 each. An item counts once, with two tokens, too.
    assert typical_words(titles, ids, 2, 9) == [
        ["tea", "black", "green", "tin"],
        ["pot", "tea", "tin"],
    ]
    assert typical_words(titles, ids, 2, 1) == [["tea"], ["pot"]]


def test_interests_that_nothing_is_of_count_for_nothing() -> None:
    ids = np.array([[0, 3]])
    assert typical_words(["tea", "tea tin"], ids, 5, 2) == [["tea"], [], [], ["tin", "tea"], []]


def test_what_is_a_word() -> None:
    titles = ["7016-8 a AA battery’s <b>Größe</b> 日本 24-pack V2.0 x"]
    (words,) = typical_words(titles, np.array([[0]]), 1, 99)
    assert words == ["aa", "battery’s", "größe", "pack", "v2", "日本"]


def test_titles_without_words() -> None:
    assert typical_words(["", "12 -"], np.array([[0, 1]]), 2, 3) == [[], []]
