"""The command line: ``run_recbole_missrec.py`` and the console script ``recbole-missrec``."""

import importlib
import logging
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from recbole_missrec.errors import Diverged, UsageError, nearest

FLAGS = {
    "--no-build": "--build_absent=False",
    "--exclude-history": "--exclude_history=True",
    "--approximate": "--approximate=True",
}
HELP = """\
Train and evaluate MISSRec, or any RecBole model, on the same split, candidates and metrics.

  python run_recbole_missrec.py --dataset=NAME [--model=NAME] [--config_files="a.yaml b.yaml"]
                                [--key=value ...]
  python run_recbole_missrec.py evaluate CHECKPOINT [--key=value ...]
  python run_recbole_missrec.py --resume=FILE [--key=value ...]
  python run_recbole_missrec.py compare --help    many models, data sets and seeds, with a report
  python run_recbole_missrec.py search --help     choose options of models on validation
  python run_recbole_missrec.py report DIR        write the report of a comparison anew
  python run_recbole_missrec.py convert OFFICIAL.pth --out=FILE
                                                  a checkpoint of the authors' code as one of this
  python run_recbole_missrec.py map CHECKPOINT    write a page to look at the interests of a trained
                                                  MISSRec; see `map --help`
  python run_recbole_missrec.py recommend CHECKPOINT --history=A,B | --users=FILE
                                                  use a trained model; also similar, explain,
                                                  add-items, remove-items, export, demo; each
                                                  has a --help

  --dataset=NAME      a folder under data_path with NAME.inter and, for models with features,
                      NAME.MODALITY.safetensors; `python -m dataset_builders --help` makes them;
                      A,B,C trains on several as one, see props/pretrain.yaml
  --no-build          do not fetch and build a known data set that is absent: Pantry, Scientific,
                      Instruments, Arts, Office, ml-100k, ml-1m, ml-20m, ml-25m, pantry-sample
  --model=NAME        MISSRec (default), or on the same features UniSRec, VQRec, SASRecContent,
                      LastItem; or a model of RecBole: SASRec, GRU4Rec, BERT4Rec, Pop ...
  --config_files=...  YAML files of options, separated by spaces, quoted if they hold
                      some; later ones win
  --resume=FILE       go on with an interrupted run, from saved/*.resume, to the same figures
  --nproc=N           train in N processes, as `torchrun --nproc_per_node=N` does; over several
                      machines, whose folder of checkpoints is one, with RecBole's
                      --world_size, --ip, --port and --group_offset
  --key=value         any option of RecBole or of this project; the command line wins over files

Often wanted (all options with their defaults: props/overall.yaml, props/model/MISSRec.yaml):
  --seed=2020               --epochs=300              --data_path=dataset
  --modalities=[text,image] --item_ids=True|False     --hidden_size=300
  --pretrained=FILE         --tune=full|adapters|bias|lora|none
  --interest_method=dpc_knn|kmeans|auto               --item_mm_fusion=dynamic_shared|static|...
  --result_file=PATH  JSON: configuration, versions, metrics, seconds, memory
  --per_user=PATH     Parquet: user, target, rank and more of each test row, for statistics with
                      `python -m recbole_missrec.evaluation --help`

Examples:
  python -m dataset_builders sample
  python run_recbole_missrec.py --dataset=pantry-sample
  python run_recbole_missrec.py --dataset=pantry-sample --model=SASRec --hidden_size=128
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line, without the program; ``sys.argv`` by default.

    Returns:
        Exit status: 0; 1 if training diverged; 2 at bad input, with one message on stderr;
        130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or {"-h", "--help"} & set(words):
        print(_help(words))
        return 0 if words else 2
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    logging.raiseExceptions = False  # a log on a full disk ends; what matters is said
    threading.excepthook = _of_a_thread
    try:
        return _run(words)
    except (UsageError, Diverged) as error:
        rank = os.environ.get("RANK", "0")
        said = " ".join(str(error).splitlines())
        print(f"recbole-missrec: {f'process {rank}: ' * (rank != '0')}{said}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:  # of a file that RecBole reads or writes
        where = f"{error.filename}: " if error.filename else ""
        print(f"recbole-missrec: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = (
            "the same command goes on"
            if words[0] in COMMANDS
            else "go on with --resume=FILE, the newest *.resume in the folder of checkpoints"
        )
        print(f"recbole-missrec: interrupted; {again}", file=sys.stderr)
        return 130


def _of_a_thread(failure: threading.ExceptHookArgs) -> None:
    """Leave a failed write of TensorBoard's thread to its next call, which raises it again."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _help(words: Sequence[str]) -> str:
    """Of the command that comes first, or of all."""
    from recbole_missrec.comparison import grid, search
    from recbole_missrec.map import command
    from recbole_missrec.serving import help as serving

    own = {"compare": grid.HELP, "search": search.HELP, "map": command.HELP, **serving.HELP}
    return own.get(words[0], HELP) if words else HELP


def _run(words: list[str]) -> int:
    """Run a command; each imports what it needs, so that a message comes at once."""
    if words[0].startswith("-"):
        return _train(parse_options(words))
    if words[0] not in COMMANDS:
        raise UsageError(f"{words[0]}: no such command; {nearest(words[0], COMMANDS)}")
    return COMMANDS[words[0]](words[1:])


def _train(options: dict[str, str]) -> int:
    if "nproc" in options and "RANK" not in os.environ:
        from recbole_missrec.launch import launch

        return launch(options)
    from recbole_missrec.config import Config
    from recbole_missrec.quick_start import stored_config, train
    from recbole_missrec.trainer.checkpoint import load_checkpoint

    if "resume" in options:
        train(stored_config(load_checkpoint(options["resume"]), options))
        return 0
    train(
        Config(
            options.pop("model", None),
            options.pop("dataset", None),
            _files(options.pop("config_files", "")),
            command_line=options,
        )
    )
    return 0


def _files(names: str) -> list[str]:
    try:
        return shlex.split(names)
    except ValueError as error:  # a quote that is not closed
        raise UsageError(f"--config_files={names}: {error}; quote names that hold it") from error


def _of_checkpoint(command: str, run: str) -> Callable[[list[str]], int]:
    """A command whose first word is a checkpoint.

    Args:
        command: its name.
        run: the function that carries it out, ``module:name`` of this package.
    """

    def carry_out(words: list[str]) -> int:
        if not words or words[0].startswith("-"):
            raise UsageError(f"{command}: which checkpoint? {command} saved/FILE.pth")
        options = parse_options(words[1:])
        module, _, name = run.partition(":")
        getattr(importlib.import_module(f"recbole_missrec.{module}"), name)(words[0], options)
        return 0

    return carry_out


def _compare(words: list[str]) -> int:
    from recbole_missrec.comparison.grid import compare

    return compare(parse_options(words))


def _search(words: list[str]) -> int:
    from recbole_missrec.comparison.search import search

    return search(parse_options(words))


def _report(words: list[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError("report: which folder of a comparison, and nothing else? report runs/NAME")
    from recbole_missrec.report.write import write_report

    for path in write_report(Path(words[0])):
        print(path)
    return 0


def _convert(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        raise UsageError("convert: which checkpoint? convert OFFICIAL.pth --out=FILE")
    options = parse_options(words[1:])
    for key in options:
        if key != "out":
            raise UsageError(f"--{key}: convert has no such option; {nearest(key, ['out'])}")
    if "out" not in options:
        raise UsageError("convert: --out=FILE is missing")
    from recbole_missrec.files import check_writable
    from recbole_missrec.trainer.official import convert

    check_writable(Path(options["out"]))
    print(convert(words[0], options["out"]))
    return 0


COMMANDS = {
    "compare": _compare,
    "search": _search,
    "report": _report,
    "convert": _convert,
    "evaluate": _of_checkpoint("evaluate", "quick_start:evaluate"),
    "map": _of_checkpoint("map", "map.command:write_map"),
    "recommend": _of_checkpoint("recommend", "serving.commands:recommend"),
    "add-items": _of_checkpoint("add-items", "serving.items:add_items"),
    "remove-items": _of_checkpoint("remove-items", "serving.items:remove_items"),
    "demo": _of_checkpoint("demo", "serving.demo:demo"),
    "export": _of_checkpoint("export", "serving.export:export"),
    "explain": _of_checkpoint("explain", "serving.commands:explain"),
    "similar": _of_checkpoint("similar", "serving.commands:similar"),
}


def parse_options(words: Sequence[str]) -> dict[str, str]:
    """Options of a command line by name, values as text: ``--key=value`` or ``--key value``.

    Raises:
        UsageError: a word that is no option, an option without value, one given twice.
    """
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        word = FLAGS.get(word, word)
        if not word.startswith("--"):
            raise UsageError(f"{word}: not an option; write --key=value")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{key}: has no value; write --{key}=value")
            value = rest.pop(0)
        if options.get(key, value) != value:
            raise UsageError(f"--{key}: given twice, as '{options[key]}' and '{value}'")
        options[key] = value
    return options
