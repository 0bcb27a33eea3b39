"""Find the files of a data set before anything is read; make them, or say how to."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from recbole_missrec.data.domains import Domain, domains, in_order
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.option_rules import check_names, check_rates
from recbole_missrec.paths import props_dir


def find_files(config: Any) -> None:
    """See that the interactions, and the features that the model reads, are there.

    A data set that is absent is built by the recipe in its props, unless the option
    ``build_absent`` forbids it. Modalities that are not named become those that have a file. Of
    several data sets, each may lack a modality, but not all of them.

    Args:
        config: a checked configuration.

    Raises:
        UsageError: something is absent; says which command makes it, or the nearest name. Or the
            recipe failed, or the interactions lack a column.
    """
    parts = domains(config)
    for domain in parts:
        build = config["build"] if len(parts) == 1 else _recipe(domain.name)
        _find_interactions(domain, config, build)
    names = [domain.name for domain in parts]
    if len(set(names)) < len(names):
        raise UsageError(f"--dataset={config['dataset']}: names a data set twice")
    if config.is_own_model:
        found = in_order(modality for domain in parts for modality in domain.modalities())
        if config["modalities"] is None:
            check_names(found)
            config["modalities"] = config.resolved["modalities"] = found
            check_rates(config.resolved)
        for modality in config["modalities"] or ["text"]:
            if modality not in found:
                there = nearest(modality, found) if found else "there are no features at all"
                path = parts[0].features(modality)
                raise UsageError(f"--modalities: {path} is missing; {there}")


def _find_interactions(domain: Domain, config: Any, build: str | None) -> None:
    """See that a domain has interactions, built now if need be, with the columns that are read."""
    name, folder = domain.name, domain.folder
    if not name or Path(name).name != name:
        raise UsageError(f"--dataset={name}: is the name of a folder, not a path; see --data_path")
    if not domain.interactions() and build and config["build_absent"]:
        _build(build, name, folder)
    files = domain.interactions()
    if not files:
        if folder.is_dir():
            os.listdir(folder)  # fails where it may not be read, whose files seem absent
        raise UsageError(_absent(name, folder, build))
    for path in files:
        _check_columns(path, config)


def _recipe(name: str) -> str | None:
    """Command that makes a data set, by its props."""
    path = props_dir() / "dataset" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["build"] if path.is_file() else None


def _build(recipe: str, name: str, folder: Path) -> None:
    """Run a builder in a process of its own, which says what it fetches and shows how far it is."""
    words = [*shlex.split(recipe), "--out", str(folder.parent)]
    print(f"{name} is not in {folder.parent}; building it: {shlex.join(words)}", file=sys.stderr)
    try:
        status = subprocess.run([sys.executable, *words[1:]]).returncode
    except KeyboardInterrupt as error:  # the builder has said that it goes on where it was
        raise UsageError(f"--dataset={name}: interrupted before any training") from error
    if status:
        raise UsageError(f"--dataset={name}: could not be built, see above")


def _absent(name: str, folder: Path, build: str | None) -> str:
    if build:
        return f"--dataset={name}: not in {folder}; make it with `{build} --out {folder.parent}`"
    known = {path.stem for path in (props_dir() / "dataset").glob("*.yaml")}
    known |= {path.parent.name for path in folder.parent.glob("*/*.inter")}
    return f"--dataset={name}: no such data set in {folder.parent}; {nearest(name, known)}"


def _check_columns(path: Path, config: Any) -> None:
    needed = {config["USER_ID_FIELD"]: "token", config["ITEM_ID_FIELD"]: "token"}
    if config["eval_args"]["order"] == "TO":
        needed[config["TIME_FIELD"]] = "float"
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline().strip()
    if header.startswith("\ufeff"):
        raise UsageError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    columns = header.split(config["field_separator"])
    there = [column.partition(":")[0] for column in columns if ":" in column]
    for name, kind in needed.items():
        if name not in there:
            raise UsageError(
                f"{path}: its first line names no column {name}; it must be like "
                "user_id:token item_id:token timestamp:float, with tabs between"
            )
        if f"{name}:{kind}" not in columns or there.count(name) > 1:
            raise UsageError(f"{path}: its first line must name {name}:{kind}, and once")
    for name in (config["load_col"] or {}).get("inter") or ():
        if name not in (*there, config["TIME_FIELD"], "*"):  # times are read where there are any
            raise UsageError(f"--load_col: {path} has no column {name}; {nearest(name, there)}")
