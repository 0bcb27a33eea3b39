"""A data set out of what a source hands over: tables, pictures, features and the card."""

import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from dataset_builders.card import FeatureFacts, bare_items, make_card, read_card, write_card
from dataset_builders.dataset_files import (
    DatasetContent,
    check_content,
    move_files,
    write_pairs,
    write_tables,
)
from dataset_builders.downloads import default_cache
from dataset_builders.encoders.interface import Encoder
from dataset_builders.encoding import encode, input_digest
from dataset_builders.pictures import Limits, fetch_pictures
from dataset_builders.word_drop import check_encoders, drop_words
from recbole_missrec import processes
from recbole_missrec.data.features import AUGMENTED, read_features, read_tokens, write_features
from recbole_missrec.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """How a data set is built.

    Attributes:
        encoders: one for each modality that is to be made of texts or pictures.
        cache: folder for pictures from the web.
        limits: of their download.
        rebuild: make features again that were made of something else; otherwise refuse.
        word_drop: share of words that texts lose for features of augmented texts; None for none.
        command: words of the command line, for the card.
    """

    encoders: tuple[Encoder, ...] = ()
    cache: Path = field(default_factory=default_cache)
    limits: Limits = field(default_factory=Limits)
    rebuild: bool = True
    word_drop: float | None = None
    command: tuple[str, ...] = ()


def build_dataset(content: DatasetContent, out: Path, settings: Settings = Settings()) -> str:
    """Build ``out/NAME``, complete or not at all.

    Everything is written into ``out/.NAME.unfinished`` first. A new data set appears by one rename.
    Of an older one each file is replaced by one rename; what this build does not make is removed,
    and files that no build made stay. Features that the older one has of the very same inputs are
    taken over. A build that was interrupted goes on when it is called again. Under ``torchrun``
    every process calls this.

    Args:
        content: the data set.
        out: folder of data sets, made if need be.
        settings: encoders and the rest.

    Returns:
        Summary to print: sizes, coverage of each modality, and the next command; empty in all
        processes but the first.

    Raises:
        UsageError: what cannot be written or encoded, stale features that may not be made again,
            or another build of the same data set that is running.
    """
    check_content(content, out)
    if settings.word_drop is not None:
        check_encoders(settings.encoders)
    target = (out / content.name).resolve()  # files are renamed into it, a link does not matter
    with _unfinished(target) as folder:
        built = folder / "data"
        processes.from_first(lambda: write_tables(content, built))
        facts = processes.from_first(lambda: _write_ready(content, built))
        augmented: dict[str, FeatureFacts] = {}
        wanted = any(encoder.modality == "image" for encoder in settings.encoders)
        pictures, lost = processes.from_first(
            lambda: _find_pictures(content, built, settings, wanted)
        )
        for encoder in settings.encoders:
            inputs, missing = (
                (content.texts, Counter()) if encoder.modality == "text" else (pictures, lost)
            )
            fact = _make(content, encoder, inputs, folder, target, settings.rebuild)
            facts[encoder.modality] = replace(fact, not_fetched=dict(missing))
            if encoder.modality == "text" and settings.word_drop is not None:
                texts = drop_words(content.texts, settings.word_drop)
                augmented["text"] = _make(
                    content, encoder, texts, folder, target, settings.rebuild, AUGMENTED
                )
        if processes.rank() > 0:
            return ""
        card = make_card(content, facts, augmented, _count_bare(content, built), settings.command)
        write_card(card, content.interactions, built)
        kept = move_files(built, target, _older_files(target))
    return _summary(content, out, facts, augmented, card, kept)


def _count_bare(content: DatasetContent, built: Path) -> int:
    """Items that have features of no modality."""
    tokens = {token for path in built.glob("*.safetensors") for token in read_tokens(path)}
    return int((~content.interactions["item_id"].drop_duplicates().isin(tokens)).sum())


def _summary(
    content: DatasetContent,
    out: Path,
    facts: Mapping[str, FeatureFacts],
    augmented: Mapping[str, FeatureFacts],
    card: Mapping[str, Any],
    kept: list[str],
) -> str:
    counts = card["counts"]
    words = "" if out == Path("dataset") else f" --data_path={shlex.quote(str(out))}"
    if not facts:
        words += " --model=SASRec"
    elif facts.keys() != {"text", "image"}:  # which MISSRec reads by default
        words += f" --modalities=[{','.join(facts)}]"
    return "\n".join(
        [
            str(out / content.name) + (f" ({content.label})" if content.label else ""),
            "  {users:,} users, {items:,} items, {interactions:,} interactions".format(**counts),
            *(f"  {m}: {fact.described(counts['items'])}" for m, fact in facts.items()),
            *(f"  {m}, augmented: {f.described(counts['items'])}" for m, f in augmented.items()),
            *(f"  {bare_items(number)}" for number in [card["bare"]] if facts and number),
            *(f"  kept {len(kept):,} other files in the folder, such as {x}" for x in kept[:1]),
            f"card: {out / content.name / 'README.md'}",
            f"next: python run_recbole_missrec.py --dataset={content.name}{words}",
        ]
    )


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """The folder of a build; after a failure only finished parts of features are left of it."""
    out = target.parent
    folder = out / f".{target.name}.unfinished"
    if processes.rank() > 0:
        yield folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"{target}: another build of it is running") from error
    except OSError as error:
        raise UsageError(f"--out {out}: cannot make a folder there: {error.strerror}") from error
    try:
        shutil.rmtree(folder / "data", ignore_errors=True)
        yield folder
        shutil.rmtree(folder / "work", ignore_errors=True)
    except OSError as error:
        if error.filename:
            raise
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder / "data", ignore_errors=True)
        if not any((folder / "work").rglob("*.npz")):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _find_pictures(
    content: DatasetContent, built: Path, settings: Settings, wanted: bool
) -> tuple[dict[str, Path], Counter[str]]:
    """Picture files of the items, those from the web fetched; and why others have none."""
    files: dict[str, Path] = {}
    remote: dict[str, str] = {}
    for item, picture in content.pictures.items():
        if isinstance(picture, bytes):
            files[item] = built / "images" / f"{item}.png"
            files[item].parent.mkdir(exist_ok=True)
            files[item].write_bytes(picture)
        elif isinstance(picture, Path):
            files[item] = picture.absolute()
            if set("\t\n\r") & set(str(picture)):
                raise UsageError(f"picture {str(picture)!r}: its path has a tab or a line break")
        elif wanted:
            remote[item] = picture
    fetched, lost = fetch_pictures(remote, settings.cache, settings.limits)
    files |= {item: path.absolute() for item, path in fetched.items()}
    if files:
        rows = (
            (item, path.relative_to(built) if path.is_relative_to(built) else path)
            for item, path in files.items()
        )
        write_pairs(built / f"{content.name}.pictures.tsv", ("item_id", "file"), rows)
    return files, lost


def _write_ready(content: DatasetContent, built: Path) -> dict[str, FeatureFacts]:
    """Write features that came ready-made; an all-zero row counts as absent."""
    facts = {}
    for modality, features in content.features.items():
        present = features.matrix.any(axis=1)
        if not present.any():
            raise UsageError(f"{content.name}: no item has {modality} features")
        tokens = np.array(features.tokens, dtype=object)[present].tolist()
        path = built / f"{content.name}.{modality}.safetensors"
        write_features(path, tokens, features.matrix[present], features.encoder)
        zero = int((~present).sum())
        facts[modality] = FeatureFacts(
            features.encoder,
            features.matrix.shape[1],
            _covered(content, tokens),
            not_encoded={"all-zero row": zero} if zero else {},
        )
    return facts


def _make(
    content: DatasetContent,
    encoder: Encoder,
    inputs: Mapping[str, Any],
    folder: Path,
    target: Path,
    rebuild: bool,
    section: str = "features",
) -> FeatureFacts:
    """Encode a modality, or take the older features over if they were made of the same inputs.

    Section ``augmented`` of the card has a folder of that name.
    """
    made_of = processes.from_first(lambda: input_digest(inputs, encoder))
    file = f"{content.name}.{encoder.modality}.safetensors"
    name = file if section == "features" else f"{section}/{file}"
    facts = processes.from_first(
        lambda: _taken_over(content, target, folder / "data", name, section, made_of)
    )
    if facts is not None:
        return facts
    if (target / name).is_file() and not rebuild:
        raise UsageError(
            f"--no-rebuild: {target / name} was made of other texts, pictures or options, or by "
            "another encoder; without --no-rebuild it is made again"
        )
    encoded = encode(inputs, encoder, folder / "work" / encoder.modality, made_of)
    if encoded is None:
        return FeatureFacts(encoder.name, 0, 0)
    tokens, matrix = encoded.features.tokens, encoded.features.matrix
    if not tokens:
        shutil.rmtree(folder / "work" / encoder.modality, ignore_errors=True)
        reasons = ", ".join(encoded.failures) or "the source has nothing to make them of"
        raise UsageError(
            f"{content.name}: no item has {encoder.modality} features: {reasons}; go without: "
            f"--{encoder.modality} none"
        )
    made_by = encoded.features.encoder + (f" ({content.label})" if content.label else "")
    write_features(folder / "data" / name, tokens, matrix, made_by, made_of)
    return FeatureFacts(
        made_by,
        matrix.shape[1],
        _covered(content, tokens),
        encoder.identity,
        made_of,
        dict(encoded.failures),
    )


def _taken_over(
    content: DatasetContent, target: Path, built: Path, name: str, section: str, made_of: str
) -> FeatureFacts | None:
    """Copy an older feature file if it was made of the same inputs and is whole."""
    try:
        features = read_features(target / name)
        modality = name.split(".")[-2]
        facts = FeatureFacts(**read_card(target)[section][modality])
    except (UsageError, LookupError, TypeError):  # absent or damaged: to be made again
        return None
    if not features.made_of == facts.made_of == made_of:
        return None
    (built / name).parent.mkdir(exist_ok=True)
    shutil.copyfile(target / name, built / name)
    return replace(facts, items=_covered(content, features.tokens))


def _older_files(target: Path) -> list[str]:
    """Files that the card of an older build names."""
    try:
        return list(read_card(target)["files"])
    except UsageError:  # there is none
        return []


def _covered(content: DatasetContent, tokens: list[str]) -> int:
    """How many items of the interactions have features."""
    return int(np.isin(content.interactions["item_id"].unique(), tokens).sum())
