"""Compare two models from their per-user results: ``python -m recbole_missrec.evaluation``."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.per_user import read_per_user
from recbole_missrec.evaluation.ranking import METRICS, metric_name
from recbole_missrec.evaluation.significance import Comparison, compare
from recbole_missrec.files import replacing

_DESCRIPTION = """\
Compare model A with model B on the same users and targets.

Give each model the per-user Parquet files of its runs, one file per seed. A user's
metric is averaged over the seeds of a model, then A - B is taken user by user. The
table shows both means, their difference, also relative to B, 95 % bootstrap intervals
over users and seeds, the p-value of a paired randomisation test over users, and what
can be said of A at the 5 % level.
"""

_EPILOG = """\
example:
  python -m recbole_missrec.evaluation \\
      --a missrec-2020.parquet missrec-2021.parquet \\
      --b sasrec-2020.parquet sasrec-2021.parquet \\
      --metric recall ndcg mrr --k 10 --json missrec-sasrec.json

The p-values are not corrected for the number of metrics: choose one beforehand, or
divide 5 % by their number. They are over users, for the runs given. The intervals are
over seeds, too, but two or three say little of how much another would change the means.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m recbole_missrec.evaluation",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for model in ("a", "b"):
        parser.add_argument(
            f"--{model}",
            nargs="+",
            type=Path,
            required=True,
            metavar="PARQUET",
            help=f"per-user results of model {model.upper()}, a file per seed",
        )
    parser.add_argument(
        "--metric",
        nargs="+",
        type=metric_name,
        default=["recall", "ndcg"],
        metavar="METRIC",
        help=f"of {', '.join(METRICS)} (default: recall ndcg)",
    )
    parser.add_argument(
        "--k",
        nargs="+",
        type=int,
        default=[10, 50],
        metavar="K",
        help="lengths of the recommended list (default: 10 50)",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the table here, too")
    try:
        args = parser.parse_args(argv)
        _run(args.a, args.b, args.metric, args.k, args.json)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(
    a: list[Path], b: list[Path], metrics: list[str], topk: list[int], json_path: Path | None
) -> None:
    if json_path and json_path.resolve() in [path.resolve() for path in a + b]:
        raise UsageError(f"--json {json_path}: would overwrite one of the results to compare")
    tables_a, tables_b = ([read_per_user(path) for path in paths] for paths in (a, b))
    comparisons = [compare(tables_a, tables_b, metric, k) for k in topk for metric in metrics]
    runs = {"a": _runs(tables_a), "b": _runs(tables_b)}
    for model, described in runs.items():
        names = [f"{run['model']} on {run['dataset']}, seed {run['seed']}" for run in described]
        print(f"{model.upper()}: " + "; ".join(names))
    print(f"{comparisons[0].users} users\n")
    print(_table(comparisons))
    if json_path:
        rows = [asdict(row) | {"verdict": row.verdict} for row in comparisons]
        with replacing(json_path) as temporary:
            temporary.write_text(json.dumps(runs | {"comparisons": rows}, indent=2) + "\n")


def _runs(tables: list[pd.DataFrame]) -> list[dict[str, str]]:
    return [dict(table.attrs) for table in tables]


def _table(comparisons: list[Comparison]) -> str:
    lines = [
        f"{'metric':<14}{'A':>8}{'B':>9}{'A - B':>10}   {'95 % interval':<20}"
        f"{'A / B - 1':>10}   {'95 % interval':<20}{'p':>7}   A is"
    ]
    for row in comparisons:
        relative = f"{_percent(row.relative):>10}"
        ends = f"[{_percent(row.relative_low)}, {_percent(row.relative_high)}]"
        lines.append(
            f"{f'{row.metric}@{row.k}':<14}{row.mean_a:>8.4f}{row.mean_b:>9.4f}"
            f"{row.difference:>+10.4f}   [{row.low:+.4f}, {row.high:+.4f}]  "
            f"{relative}   {ends:<20}{row.p_value:>7.4f}   {row.verdict}"
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:+.1%}"


if __name__ == "__main__":
    sys.exit(main())
