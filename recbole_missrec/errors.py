"""The one error that a user can mend: reported as a single message, exit status 2."""

from bisect import bisect_left
from collections.abc import Iterable
from difflib import get_close_matches

MANY = 20  # names that are too many to list in a message
LARGE = 10_000  # names that are too many to compare with each
ALIKE = 1000  # of these are compared on either side in the alphabet


class UsageError(Exception):
    """Bad input: an option, a value or a file; its text is shown as it is, without a traceback."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to a wrong one.

    Args:
        name: what was given.
        known: the valid names.

    Returns:
        ``"did you mean 'x'?"`` where one is near; else ``"choose from 'a', 'b', ..."``, or, where
        they are many, ``"the nearest of 99 is 'x'"``. Of more than ``LARGE`` only the
        neighbours in the alphabet, whose first characters are most alike, count.
    """
    known = sorted(known)
    by_case = {option.lower(): option for option in reversed(known)}
    if len(known) > LARGE:  # comparing with each would take seconds
        begins_alike = sorted(by_case)
        place = bisect_left(begins_alike, name.lower())
        by_case = {key: by_case[key] for key in begins_alike[max(0, place - ALIKE) : place + ALIKE]}
    near = get_close_matches(name.lower(), by_case, n=1)
    if near:
        return f"did you mean '{by_case[near[0]]}'?"
    if len(known) > MANY:
        any_near = get_close_matches(name.lower(), by_case, n=1, cutoff=0)
        how = " in the alphabet" if len(known) > LARGE else ""
        return f"the nearest{how} of {len(known)} is '{by_case[any_near[0]]}'"
    return "choose from " + ", ".join(f"'{option}'" for option in known)


class Diverged(Exception):
    """Training or scoring gave values that are not numbers."""
