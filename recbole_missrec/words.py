"""Words of the command line that are of a command and not of a run."""

import sys

from recbole_missrec.errors import UsageError


def take(options: dict[str, str], wanted: dict[str, str | None]) -> dict[str, str]:
    """Take a command's own options out of those of the command line.

    Raises:
        UsageError: one without default is missing.
    """
    taken = {name: options.pop(name, default) for name, default in wanted.items()}
    for name, value in taken.items():
        if not value:
            raise UsageError(f"--{name} is missing; see --help")
    return {name: str(value) for name, value in taken.items()}


def names(option: str, text: str) -> list[str]:
    """The parts of a list with commas.

    Raises:
        UsageError: one is empty or there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts) or len(set(parts)) < len(parts):
        raise UsageError(f"--{option}={text}: must be different names with commas between")
    return parts


def whole_number(option: str, text: str, lowest: int = 1) -> int:
    """A whole number given as text.

    Raises:
        UsageError: it is none, or too low.
    """
    if not text.isdecimal() or int(text) < lowest:
        raise UsageError(f"--{option}={text}: must be a whole number from {lowest}")
    return int(text)


def switch(option: str, text: str) -> bool:
    """True or False given as text.

    Raises:
        UsageError: it is neither.
    """
    if text not in ("True", "False"):
        raise UsageError(f"--{option}={text}: must be True or False")
    return text == "True"


def say(line: str) -> None:
    """Report progress."""
    print(line, file=sys.stderr, flush=True)
