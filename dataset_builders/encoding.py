"""Features of all items by an encoder: in parts that survive an interruption, by any processes.

Items are cut into parts of a size that depends on their number alone. The rows of a part become
one file in a work folder whose name is a digest of everything that they depend on. A part that is
there is not made again, and the parts are joined at the end, so that work that was killed and
started again gives the same bytes. Under ``torchrun`` each of N processes makes every N-th part.
"""

import hashlib
import io
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from dataset_builders.dataset_files import ItemFeatures
from dataset_builders.downloads import digest
from dataset_builders.encoders.interface import Encoder, Loaded
from recbole_missrec import processes
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.picture_files import open_picture

FORMAT = "recbole_missrec.encoding 1"  # changes when the same inputs would give other rows
SMALLEST_PART, LARGEST_PART = 256, 4096  # items
LONGEST_SIDE = 50  # times the other one; more becomes huge where a model resizes the shorter side
NO_TEXT, NOTHING_FOUND = "empty text", "nothing that the encoder knows"
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Encoded:
    """Features of one modality and what they were made of.

    Attributes:
        features: a row for each item that has something to encode, in the order of the inputs.
        digest: as of ``input_digest``.
        failures: reason -> number of items that have no row.
    """

    features: ItemFeatures
    digest: str
    failures: Counter[str]


def input_digest(inputs: Mapping[str, str] | Mapping[str, Path], encoder: Encoder) -> str:
    """SHA-256 of all that features depend on: encoder, weights, options, items, their contents.

    Nothing is encoded; time is that of reading the texts, or the picture files.

    Args:
        inputs: raw item token -> text, or file of a picture.
        encoder: as ``encoders.choose`` gives it.

    Returns:
        The digest in hexadecimal.

    Raises:
        UsageError: a text or a token that is not valid Unicode.
    """
    total = hashlib.sha256()
    for part in _described(inputs, encoder):
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


def _described(inputs: Mapping[str, Any], encoder: Encoder) -> Iterator[bytes]:
    yield f"{FORMAT}\n{encoder.identity}".encode()
    for item, value in inputs.items():
        try:
            yield item.encode()
            yield (value if isinstance(value, str) else _digest(value)).encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"item {item!r}: its text is not valid Unicode ({error})") from error


def _digest(picture: Path) -> str:
    try:
        return digest(picture)
    except OSError:  # encoding counts it among the failures
        return "cannot be read"


def encode(
    inputs: Mapping[str, str] | Mapping[str, Path],
    encoder: Encoder,
    work: Path,
    known_digest: str | None = None,
) -> Encoded | None:
    """Encode all items, or what is left to do of it.

    Beside the encoder and the inputs, memory holds one part at a time; the features that come back
    are mapped from a file in the work folder. Under ``torchrun`` all processes call this with the
    same arguments and a work folder that they share.

    Args:
        inputs: raw item token -> text, or file of a picture.
        encoder: as ``encoders.choose`` gives it.
        work: folder for the parts, made if need be; it takes the room of the features twice.
            It may be removed once the features are written elsewhere.
        known_digest: what ``input_digest`` returned for the same inputs and encoder, if it was
            called already.

    Returns:
        The features, their space named by the inputs where it depends on them; None in all
        processes but the first.

    Raises:
        UsageError: inputs that cannot be encoded at all, or another process that has ended.
    """
    inputs_digest = known_digest or processes.from_first(lambda: input_digest(inputs, encoder))
    present = {
        item: value for item, value in inputs.items() if not isinstance(value, str) or value.strip()
    }
    folder = work / inputs_digest[:32]
    parts = _parts(list(present.values()), folder, encoder.whole)
    _make_parts(parts[processes.rank() :: processes.world_size()], encoder)
    processes.from_first(lambda: None)
    if processes.rank() > 0:
        return None
    matrix, kept, failures = _join(parts, folder)
    if len(present) < len(inputs):
        failures[NO_TEXT] += len(inputs) - len(present)
    items = list(present)
    made_by = encoder.name + (f" of {inputs_digest[:8]}" if encoder.whole else "")
    features = ItemFeatures([items[row] for row in kept], matrix, made_by)
    return Encoded(features, inputs_digest, failures)


class _Part(NamedTuple):
    """Consecutive items whose rows become one file."""

    path: Path
    start: int
    values: list[Any]  # texts, or files of pictures


def _parts(values: list[Any], folder: Path, whole: bool) -> list[_Part]:
    size = min(max(len(values) // 64, SMALLEST_PART), LARGEST_PART)
    size = max(1, len(values)) if whole else size
    return [
        _Part(folder / f"{start:09d}.npz", start, values[start : start + size])
        for start in range(0, len(values), size)
    ]


def _make_parts(parts: list[_Part], encoder: Encoder) -> None:
    missing = [part for part in parts if not part.path.exists()]
    if not missing:
        return
    loaded = encoder.load(processes.device())
    total, left = (sum(len(part.values) for part in some) for some in (parts, missing))
    with tqdm(
        total=total,
        initial=total - left,
        desc=f"{encoder.modality}: {encoder.name}",
        unit=" items",
        disable=None if processes.rank() == 0 else True,  # None: shown on a terminal
    ) as bar:
        for part in missing:
            rows, kept, failures = _encode_part(part.values, loaded, encoder.modality, bar)
            buffer = io.BytesIO()  # a zip file that breaks off would end with noise on stderr
            reasons = np.array(list(failures.elements()), dtype=str)
            np.savez(buffer, rows=rows, kept=kept, reasons=reasons)
            with replacing(part.path) as temporary:
                temporary.write_bytes(buffer.getbuffer())


def _encode_part(
    values: list[Any], loaded: Loaded, modality: str, bar: tqdm
) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """Rows, the positions of their inputs, and failures by reason."""
    failures: Counter[str] = Counter()
    decoded: list[int] = []

    def pictures() -> Iterator[Any]:
        for position, prepared in enumerate(_ahead(partial(_prepare, loaded), values)):
            if isinstance(prepared, ValueError):
                failures[str(prepared)] += 1
                bar.update()
            else:
                decoded.append(position)
                yield prepared

    rows = np.zeros((0, 0), np.float32)
    for positions, batch in loaded.encode(pictures() if modality == "image" else values):
        if not rows.size:
            rows = np.zeros((len(values), batch.shape[1]), np.float32)
        rows[positions] = batch
        bar.update(len(batch))
    kept = np.array(decoded, int) if modality == "image" else np.arange(len(values))
    rows = rows[: len(kept)]
    found = rows.any(axis=1)
    if found.all():
        return rows, kept, failures
    failures[NOTHING_FOUND] += int((~found).sum())
    return rows[found], kept[found], failures


def _prepare(loaded: Loaded, path: Path) -> Any:
    """What the encoder takes of a picture, or the reason why there is nothing."""
    try:
        picture = open_picture(path)
        if max(picture.size) > LONGEST_SIDE * min(picture.size):
            raise ValueError(f"over {LONGEST_SIDE} times as long as wide")
        return loaded.prepare(picture)
    except ValueError as error:
        return error


def _ahead(function: Callable[[In], Out], inputs: Iterable[In]) -> Iterator[Out]:
    """``map`` in threads, a bounded number of inputs ahead."""
    waiting: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(processes.threads()) as pool:
        for value in inputs:
            waiting.append(pool.submit(function, value))
            if len(waiting) > 2 * processes.threads():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _join(parts: list[_Part], folder: Path) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """The rows of all parts in one matrix, the positions of their items, failures by reason."""
    failures: Counter[str] = Counter()
    kept = [np.zeros(0, int)]
    joined = folder / "joined"
    folder.mkdir(parents=True, exist_ok=True)
    with joined.open("wb") as file:
        for part in parts:
            with np.load(part.path) as made:
                made["rows"].tofile(file)
                kept.append(part.start + made["kept"])
                failures.update(made["reasons"].tolist())
    positions = np.concatenate(kept)
    if not len(positions):
        return np.zeros((0, 0), np.float32), positions, failures
    return np.memmap(joined, np.float32, "r+").reshape(len(positions), -1), positions, failures
