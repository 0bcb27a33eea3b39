"""The command ``compare``: every model on every data set with every seed, and a report."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean

from recbole_missrec.comparison.execution import (
    INTERRUPTED,
    execute_all,
    read_result,
    work_path,
)
from recbole_missrec.comparison.plan import Run, plan_runs, write_plan
from recbole_missrec.words import names, say, switch, take, whole_number

HELP = """\
Train every model on every data set with every seed, one process a run, and report on them.

  python run_recbole_missrec.py compare --models=MISSRec,SASRec --datasets=Scientific
                                        --seeds=2020,2021,2022 --out=runs/NAME [--key=value ...]

  --models=A,B        models of this project or of RecBole; MODEL:NAME is a model with
                      props/ablation/NAME.yaml, MODEL:FILE.yaml with a file of options,
                      MISSRec:all MISSRec and each of its ablations
  --datasets=A,B      names of data sets
  --seeds=1,2,3       default: 2020
  --out=DIR           results, report.html, report.md and tables; a comparison that was killed, or
                      is asked for again, goes on where it was and computes nothing twice
  --parallel=N        runs at a time, which share the processors; default: 1
  --cluster=ADDRESS   or auto: runs of a thread each on a Ray cluster, whose machines
                      share DIR and have this project installed
  --report=False      no report; `python run_recbole_missrec.py report DIR` writes it later
  --key=value         any option, for every run

A failed run is recorded with its error, does not stop the others, and is tried again next time.
Exit status 1 if a run failed.
"""
OWN = {"models": None, "datasets": None, "seeds": "2020", "out": None, "parallel": "1"}


def compare(options: dict[str, str]) -> int:
    """Run a comparison.

    Args:
        options: of the command line, values as text.

    Returns:
        Exit status: 0, or 1 if a run failed.

    Raises:
        UsageError: an option is missing or wrong; nothing has been run then.
    """
    given = take(options, OWN)
    cluster = options.pop("cluster", None)
    report = switch("report", options.pop("report", "True"))
    parallel = whole_number("parallel", given["parallel"])
    seeds = [whole_number("seeds", seed, lowest=0) for seed in names("seeds", given["seeds"])]
    runs = plan_runs(
        names("models", given["models"]), names("datasets", given["datasets"]), seeds, options
    )
    out = Path(given["out"])
    write_plan(out, runs)
    failed = run_all(runs, out, parallel, cluster)
    if report:
        from recbole_missrec.report.write import write_report

        write_report(out)
        say(f"{out / 'report.html'}, report.md and tables/ are written")
    if failed:
        say(f"{failed} of {len(runs)} runs failed; see {out}/*.error.json")
    return int(bool(failed))


def run_all(
    runs: Sequence[Run],
    out: Path,
    parallel: int,
    cluster: str | None,
    checkpoints: bool = False,
) -> int:
    """Execute the runs that are not done, and say how far it is after each; see ``execute_all``.

    Returns:
        How many failed.

    Raises:
        KeyboardInterrupt: a run was interrupted.
    """
    results = {run: read_result(out, run) for run in runs}
    left = [run for run, result in results.items() if result is None]
    seconds = {run: result["seconds"] for run, result in results.items() if result}
    for run in seconds:  # one that was killed between its result and this had left it
        shutil.rmtree(work_path(out, run), ignore_errors=True)
    say(f"{len(runs)} runs, {len(runs) - len(left)} of them done before")
    for run in left:
        say(f"  {run.digest}  {run.label} on {run.dataset}, seed {run.seed}")
    failed = 0
    with closing(execute_all(left, out, parallel, cluster, checkpoints)) as ended:
        for run, status in ended:
            if status == INTERRUPTED:
                raise KeyboardInterrupt
            result = read_result(out, run)
            failed += result is None
            left.remove(run)
            line = f"{run.label} on {run.dataset}, seed {run.seed}: "
            if result is None:
                line += f"failed, see {out / run.digest}.error.json"
            else:
                seconds[run] = result["seconds"]
                metric = result["config"]["valid_metric"].lower()
                line += f"{metric} {result['valid'][metric]:.4f} on validation"
                line += f", {result['seconds']:,.0f} s"
            say(
                f"[{len(runs) - len(left)}/{len(runs)}] {line}{_time_left(left, seconds, parallel)}"
            )
    return failed


def _time_left(left: Sequence[Run], seconds: dict[Run, float], parallel: int) -> str:
    """From like runs that are done: of the model on the data set, of the model, of any."""
    if not left or not seconds:
        return ""
    alike: list[Callable[[Run], tuple[str, ...]]] = [
        lambda run: (run.label, run.dataset),
        lambda run: (run.label,),
        lambda run: (),
    ]
    total = 0.0
    for run in left:
        known = ([seconds[r] for r in seconds if key(r) == key(run)] for key in alike)
        total += mean(next(filter(None, known)))
    return f"; about {total / parallel / 60:,.0f} min left"
