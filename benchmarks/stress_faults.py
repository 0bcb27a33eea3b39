"""Kills, full disks and a million items: ``python -m benchmarks.stress_faults``."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.faults.jobs import JOBS, make_base
from benchmarks.faults.large import large
from benchmarks.faults.trials import fill, kill, room, undisturbed
from benchmarks.measuring import arguments, kept_rows, machine, positive, report
from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import replacing, write_json
from recbole_missrec.words import names, say

DESCRIPTION = """\
Disturb commands on a small generated shop, let each go on by the same command (a training by
--resume), and compare what it ends with to the undisturbed result; Linux, disks need root.

  kill   SIGKILL to all processes of a command, at moments spread evenly over the time that it takes
         undisturbed; after it every named file must be readable, after the second start what was
         finished must be unchanged
  disk   the command on disks with room for a part of what it writes: it must end with a message and
         without a traceback; then the disk gets more room
  large  an epoch on a data set of many items, within a bound on memory

A run that is interrupted goes on. Beside --out a table is written, .md.
"""
LARGE = "large"
GIB = 24


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0; 1 if a trial did not end as it must; 2 after a message about bad input.
    """
    parser = arguments("benchmarks.stress_faults", DESCRIPTION)
    parser.set_defaults(out=Path("results/stress_faults.json"))
    add = parser.add_argument
    every = ",".join([*JOBS, LARGE])
    add("--kinds", default=every, metavar="A,B", help=f"default: {every}")
    add("--kills", type=int, default=12, metavar="N", help="of each kind; default: 12")
    add("--disks", type=int, default=5, metavar="N", help="for each kind; default: 5")
    add("--items", type=positive, default=10**6, metavar="N", help="of large; default: 1000000")
    add("--folder", type=Path, default=Path("runs/stress_faults"), metavar="DIR")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {}

    def run() -> dict[str, Any]:
        result.update(kept_rows(args.out, {**machine(1), "rows": []}))
        done = {(row["kind"], row["fault"]) for row in result["rows"]}
        for kind in names("kinds", args.kinds):
            if kind not in (*JOBS, LARGE):
                near = nearest(kind, [*JOBS, LARGE])
                raise UsageError(f"--kinds={kind}: no such kind; {near}")
            for row in trials(kind, args, done):
                result["rows"].append(row)
                write_json(args.out, result)
                say(f"{kind}, {row['fault']}: {'as it must' if good(row) else f'WRONG: {row}'}")
        with replacing(args.out.with_suffix(".md")) as temporary:
            temporary.write_text(f"{table(result)}\n", encoding="utf-8")
        return result

    return report([args.out], run, table) or int(not all(map(good, result["rows"])))


def trials(kind: str, args: Any, done: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Rows of a kind that are not done yet.

    Args:
        kind: of a command, or ``large``.
        args: of the command line.
        done: kinds and faults of rows that are there.
    """
    if kind == LARGE:
        fault = f"{args.items:,} items"
        if (kind, fault) not in done:
            yield {"kind": kind, "fault": fault, **large(args.folder / LARGE, args.items, GIB)}
        return
    kills = [f"kill {number + 1} of {args.kills}" for number in range(args.kills)]
    disks = [f"disk {number + 1} of {args.disks}" for number in range(args.disks)]
    left = [fault for fault in (*kills, *disks) if (kind, fault) not in done]
    if not left:
        return
    job, base, folder = (
        JOBS[kind],
        (args.folder / "base").resolve(),
        args.folder.resolve() / "trial",
    )
    make_base(base, job)
    expected, seconds = undisturbed(job, base, folder)
    say(f"{kind}: {seconds:.1f} s undisturbed")
    for fault in kills:
        if fault in left:
            moment = seconds * (kills.index(fault) + 0.5) / len(kills)
            row = kill(job, base, folder, moment, expected)
            yield {"kind": kind, "fault": fault, "moment": moment, "of": seconds, **row}
    disk = folder.with_name("disk")
    before, after = room(job, base, disk) if set(disks) & set(left) else (0, 0)
    for fault in disks:
        if fault in left:
            size = before + round((after - before) * (disks.index(fault) + 0.5) / len(disks))
            row = fill(job, base, disk, size, expected)
            yield {"kind": kind, "fault": fault, "size": size, "of": after, **row}


def good(row: dict[str, Any]) -> bool:
    """Whether a trial ended as it must: on a full disk, with a message."""
    wrong = [row.get("broken"), row.get("changed"), row.get("traceback"), row.get("again")]
    if row.get("full"):
        wrong.append(row["status"] != 2 or not row["said"])
    return bool(row["same"]) and not any(wrong)


def table(result: dict[str, Any]) -> str:
    """What was tried and what happened, a line for each kind and fault."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault((row["kind"], row["fault"].partition(" ")[0]), []).append(row)
    lines = []
    for (kind, fault), rows in groups.items():
        if kind == LARGE:
            said = f"{rows[0].get('peak_gib', float('nan')):.1f} GiB, {rows[0]['seconds']:.0f} s"
            lines.append([kind, rows[0]["fault"], 1, said, "", "", sum(map(good, rows))])
            continue
        hit = sum(row.get("killed", False) or row.get("full", False) for row in rows)
        broken = sum(bool(row["broken"]) for row in rows)
        changed = sum(bool(row["changed"]) for row in rows)
        lines.append([kind, fault, len(rows), hit, broken, changed, sum(map(good, rows))])
    headers = ["command", "fault", "tried", "hit", "broken files", "finished files changed"]
    return tabulate(lines, [*headers, "as it must"], tablefmt="github")


if __name__ == "__main__":
    sys.exit(main())
