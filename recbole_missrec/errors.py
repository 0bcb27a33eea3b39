"""The one error that a user can mend: reported as a single message, exit status 2."""

from collections.abc import Iterable
from difflib import get_close_matches

MANY = 20  # names that are too many to list in a message


class UsageError(Exception):
    """Bad input: an option, a value or a file; its text is shown as it is, without a traceback."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to a wrong one.

    Args:
        name: what was given.
        known: the valid names.

    Returns:
        ``"did you mean 'x'?"`` where one is near; else ``"choose from 'a', 'b', ..."``, or, where
        they are many, ``"the nearest of 99 is 'x'"``.
    """
    known = sorted(known)
    by_case = {option.lower(): option for option in reversed(known)}
    near = get_close_matches(name.lower(), by_case, n=1)
    if near:
        return f"did you mean '{by_case[near[0]]}'?"
    if len(known) > MANY:
        any_near = get_close_matches(name.lower(), by_case, n=1, cutoff=0)
        return f"the nearest of {len(known)} is '{by_case[any_near[0]]}'"
    return "choose from " + ", ".join(f"'{option}'" for option in known)


class Diverged(Exception):
    """Training or scoring gave values that are not numbers."""
