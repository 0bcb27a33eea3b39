"""Features without pre-trained models, on texts and pictures that one can work out by hand."""

import numpy as np
import pytest
from PIL import Image

from dataset_builders.encoders import histogram, tfidf
from recbole_missrec.errors import UsageError

COLOURS, LAYOUT, EDGES = slice(0, 64), slice(64, 100), slice(100, 132)


def test_texts_are_near_by_their_words() -> None:
    """The first two are the same but for order, the third has no word of theirs, the last none."""
    rows = tfidf.encode(["red jam pot", "pot red jam", "blue tea", "tea bag", ""])
    assert rows.dtype == np.float32
    cosines = rows @ rows.T
    assert np.diag(cosines) == pytest.approx([1, 1, 1, 1, 0])
    assert cosines[0, 1:] == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert 0.1 < cosines[2, 3] < 0.9


def test_at_most_the_asked_dimensions() -> None:
    texts = ["red jam", "blue tea", "green tea", "red pot", "jam pot"]  # 6 words
    assert tfidf.encode(texts, dim=2).shape == (5, 2)
    assert tfidf.encode(texts).shape == (5, 4)
    assert np.array_equal(tfidf.encode(texts), tfidf.encode(texts))


@pytest.mark.parametrize("texts", [["", ""], ["tea", "tea"], ["green tea"]])
def test_texts_without_enough_words(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="words"):
        tfidf.encode(texts)


def test_one_colour_fills_one_bin() -> None:
    """Red is level 3 of 0 to 3, green and blue are level 0: bin 3 * 16; white is the last bin."""
    pictures = [Image.new("RGB", (100, 50), colour) for colour in ("red", "white")]
    expected = np.zeros((2, 132))
    expected[0, 48] = expected[1, 63] = 1
    assert histogram.encode(pictures) == pytest.approx(expected)


def test_transparency_is_white() -> None:
    clear, white = Image.new("RGBA", (9, 9), (255, 0, 0, 0)), Image.new("L", (9, 9), 255)
    assert np.array_equal(*histogram.encode([clear, white]))


def halves(horizontal: bool) -> Image.Image:
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[:, 32:] = 255
    return Image.fromarray(pixels.T if horizontal else pixels)


def test_black_and_white_halves() -> None:
    """Three parts of equal weight: two colours, dark left and bright right cells, one direction."""
    rows = histogram.encode([halves(horizontal=False), halves(horizontal=True)])
    for part in (COLOURS, LAYOUT, EDGES):
        assert np.linalg.norm(rows[:, part], axis=1) == pytest.approx([3**-0.5] * 2)
    assert np.flatnonzero(rows[0, COLOURS]).tolist() == [0, 63]
    assert (np.sign(rows[0, LAYOUT]).reshape(6, 6) == [-1, -1, -1, 1, 1, 1]).all()
    assert rows[1, LAYOUT].reshape(6, 6) == pytest.approx(rows[0, LAYOUT].reshape(6, 6).T)
    # one of 8 directions in each of 4 quarters: across, or down, a quarter turn further
    assert np.flatnonzero(rows[0, EDGES]).tolist() == [0, 8, 16, 24]
    assert np.flatnonzero(rows[1, EDGES]).tolist() == [4, 12, 20, 28]
