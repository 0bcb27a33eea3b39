"""A whole sequence out of its training, validation and test rows."""

from collections import Counter, defaultdict
from collections.abc import Sequence

Window = tuple[str, ...]
Row = tuple[Window, str]  # the last items so far, and the next one


def rows_of(sequence: Sequence[str], cut: int) -> list[Row]:
    """Rows of a sequence: each item but the first, after a window of at most ``cut`` items.

    >>> rows_of("abcd", 2)
    [(('a',), 'b'), (('a', 'b'), 'c'), (('b', 'c'), 'd')]
    """
    return [
        (tuple(sequence[max(0, position - cut) : position]), sequence[position])
        for position in range(1, len(sequence))
    ]


def chain_rows(
    train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row], cut: int
) -> list[str] | None:
    """The sequence whose last row is the test row and whose last but one is the validation row.

    A row leads from its window to the next one, so the training rows, each used once, are an
    Eulerian trail over windows, found by Hierholzer's algorithm in time linear in their number.
    Where windows recur, several sequences can have the same rows; any of them will do.

    Args:
        train: rows in any order.
        valid: one row.
        test: one row.
        cut: most items in a window.

    Returns:
        The items in order; None if no sequence has exactly these rows.
    """
    following: defaultdict[Window, list[Window]] = defaultdict(list)
    for window, target in train:
        following[window].append((*window, target)[-cut:])
    start = min((window for window, _ in (*train, *valid, *test)), key=len)
    trail, path = [], [start]
    while path:
        if following[path[-1]]:
            path.append(following[path[-1]].pop())
        else:
            trail.append(path.pop())
    walked = [window[-1] for window in reversed(trail[:-1])]
    sequence = [*start, *walked, *(target for _, target in (*valid, *test))]
    rows = rows_of(sequence, cut)
    fits = Counter(rows[:-2]) == Counter(train) and rows[-2:] == [*valid, *test]
    return sequence if fits and len(valid) == len(test) == 1 else None
