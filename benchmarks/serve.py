"""Top-K over large catalogues, and the service under load: ``python -m benchmarks.serve``."""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

from benchmarks.generated import batches, generated_model
from benchmarks.measuring import (
    arguments,
    in_fresh_process,
    kept_rows,
    machine,
    positive,
    report,
)
from recbole_missrec.errors import UsageError
from recbole_missrec.files import write_json
from recbole_missrec.model.history import History
from recbole_missrec.serving import approximate
from recbole_missrec.serving.histories import held_items
from recbole_missrec.serving.scoring import make_scorer
from recbole_missrec.serving.topk import exact
from recbole_missrec.words import say

ITEMS = (10**4, 10**5, 10**6)
ALPHA = 1.0
TOPK = 10
BATCH = 64
FEATURES = 128  # dimensions of generated features
NOISE = 0.6  # beside the tokens of an item, whose mean has length 1, in a query
DESCRIPTION = f"""\
Top-{TOPK} of MISSRec at hidden size 300, two modalities, without item ids, alpha {ALPHA:g}, on
generated catalogues, each in a process of its own. Items come in clusters of fifty, their features
in directions of falling variance, half of which the modalities share; a query is near the tokens of
an item. Times are of reading a history and searching, one query and {BATCH} at a time; `bare` is a
pass of the bare matrix products over both modalities. Recall is that of the exact list.

With --checkpoint the service of that checkpoint is asked by many clients at once, too. What is in
--out is not measured again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.serve", DESCRIPTION)
    add = parser.add_argument
    add("--items", type=positive, nargs="*", default=ITEMS, metavar="N", help=f"default: {ITEMS}")
    add("--queries", type=positive, default=200, metavar="N", help="default: 200")
    add("--probes", type=positive, metavar="N", help="lists looked into, if not as by default")
    add("--checkpoint", metavar="FILE", help="of which model the service is asked")
    add("--data_path", default="dataset", metavar="DIR", help="folder of its data set")
    add("--clients", type=positive, default=64, metavar="N", help="default: 64")
    add("--seconds", type=positive, default=60, metavar="S", help="default: 60")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each size, then the service; with ``--out`` each is written as it is done."""
    identity = {**machine(args.threads), "queries": args.queries, "probes": args.probes, "rows": []}
    result = kept_rows(args.out, identity)
    for items in args.items:
        if any(row.get("items") == items for row in result["rows"]):
            continue
        say(f"{items:,} items")
        how = args.queries, args.probes, args.threads
        result["rows"].append({"items": items} | in_fresh_process(measure, items, *how))
        if args.out:
            write_json(args.out, result)
    if args.checkpoint:
        say(f"{args.clients} clients for {args.seconds} s")
        row = under_load(args.checkpoint, args.data_path, args.clients, args.seconds, args.threads)
        result["rows"].append(row)
    return result


def features(items: int) -> dict[str, Tensor]:
    """Features of a generated catalogue, padding included, ``[items + 1, FEATURES]`` each."""
    scale = torch.arange(1, FEATURES + 1) ** -0.5  # [FEATURES]
    centres = torch.randn(max(1, items // 50), FEATURES) * scale
    shared = centres[torch.randint(len(centres), (items + 1,))]
    shared += 0.5 * torch.randn(items + 1, FEATURES) * scale
    return {
        modality: shared + 0.5 * torch.randn(items + 1, FEATURES) * scale
        for modality in ("text", "image")
    }


def measure(items: int, queries: int, probes: int | None, threads: int) -> dict[str, Any]:
    """Times and recall of one size.

    Args:
        items: number of items.
        queries: number of queries.
        probes: lists that the index looks into, None for its default.
        threads: of torch and faiss.
    """
    torch.manual_seed(2020)
    size = {"interest_ratio": 0.02, "item_ids": False}
    model = generated_model("MISSRec", items, threads, features=features(items), **size).eval()
    with torch.no_grad():
        model.fusion.alpha.fill_(ALPHA)
    scorer = make_scorer(model, "generated")
    start = time.perf_counter()
    index = approximate.Index(scorer.views(), torch.arange(items + 1) > 0)
    built = time.perf_counter() - start
    for file in index.files.values():
        file.nprobe = probes or file.nprobe
    batch = next(batches(items, queries, 50))
    history = History(batch["item_id_list"], batch["item_length"])
    near = torch.randint(1, items + 1, (queries,))
    u = F.normalize(torch.stack([part[near] for part in scorer.parts]).sum(0), dim=1)
    u = F.normalize(u + NOISE * F.normalize(torch.randn_like(u), dim=1), dim=1)
    offered = torch.arange(items + 1) > 0

    @torch.no_grad()
    def search(kind: str, rows: slice) -> Tensor:
        own = History(history.items[rows], history.lengths[rows])
        if kind == "bare":
            return torch.stack([(u[rows] @ part.T)[:, :TOPK] for part in scorer.parts])
        model.embed(batch[torch.arange(queries)[rows]])
        if kind == "exact":
            return exact(scorer, u[rows], held_items(own), offered, TOPK).items
        return approximate.approximate(scorer, index, u[rows], own, TOPK).items

    row: dict[str, Any] = {"index_seconds": built}
    found: dict[str, Tensor] = {}
    for kind in ("bare", "exact", "approximate"):
        search(kind, slice(0, 1))
        for name, together in (("single", 1), ("batched", BATCH)):
            taken = []
            lists = []
            for first in range(0, queries, together):
                start = time.perf_counter()
                lists.append(search(kind, slice(first, first + together)))
                taken.append(time.perf_counter() - start)
            found[kind] = torch.cat(lists) if kind != "bare" else lists[0]
            row[f"{kind}_{name}_per_second"] = queries / sum(taken)
            row[f"{kind}_{name}_p99_ms"] = 1e3 * float(np.quantile(taken, 0.99))
            row[f"{kind}_{name}_median_ms"] = 1e3 * float(np.median(taken))
    hits = (found["exact"][:, :, None] == found["approximate"][:, None]).any(2)
    row["recall"] = float(hits.double().mean())
    row["memory_mib"] = psutil.Process().memory_info().rss / 2**20
    return row


def under_load(
    checkpoint: str, data_path: str, clients: int, seconds: int, threads: int
) -> dict[str, Any]:
    """Ask the service of a checkpoint from many clients at once, over loopback.

    Raises:
        UsageError: the service does not start.
    """
    words = ["demo", checkpoint, f"--data_path={data_path}", "--port=0"]
    service = subprocess.Popen(
        [sys.executable, "-m", "recbole_missrec", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        assert service.stderr is not None
        line = service.stderr.readline()
        if not line.startswith("http://"):
            raise UsageError(line.strip())
        return asyncio.run(_ask(line.split()[0], psutil.Process(service.pid), clients, seconds))
    finally:
        service.terminate()
        service.wait()


async def _ask(url: str, service: psutil.Process, clients: int, seconds: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    taken: list[float] = []
    statuses: list[int] = []
    memory: list[float] = []
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        (model, *_) = (await client.get("/api/models")).json()
        asked = {"model": model["name"], "words": "", "limit": 100}
        items = [item["item"] for item in (await client.get("/api/items", params=asked)).json()]
        end = time.perf_counter() + seconds

        async def ask(number: int) -> None:
            draw = np.random.default_rng(number)
            while time.perf_counter() < end:
                history = draw.choice(items, int(draw.integers(1, 10))).tolist()
                start = time.perf_counter()
                try:
                    answer = await client.post(
                        "/api/recommend", json={"model": model["name"], "history": history}
                    )
                    statuses.append(answer.status_code)
                except httpx.HTTPError:
                    statuses.append(0)
                taken.append(time.perf_counter() - start)

        async def watch() -> None:
            while time.perf_counter() < end:
                memory.append(service.memory_info().rss / 2**20)
                await asyncio.sleep(seconds / 20)

        await asyncio.gather(watch(), *(ask(number) for number in range(clients)))
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": len(statuses),
        "lost": sum(status != 200 for status in statuses),
        "per_second": len(statuses) / seconds,
        "median_ms": 1e3 * float(np.median(taken)),
        "p99_ms": 1e3 * float(np.quantile(taken, 0.99)),
        "memory_mib": memory[1:],
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"\n{result['cpu']}, threads: {result['threads']}, torch {result['torch']}\n"]
    rows = [
        [
            row["items"],
            kind,
            *(
                row[f"{kind}_{name}_{figure}"]
                for name in ("single", "batched")
                for figure in ("per_second", "median_ms", "p99_ms")
            ),
            row["recall"] if kind == "approximate" else None,
        ]
        for row in result["rows"]
        if "items" in row
        for kind in ("bare", "exact", "approximate")
    ]
    heads = ["items", "search", "queries/s", "median ms", "p99 ms"]
    heads += [f"{BATCH} at a time: queries/s", "median ms", "p99 ms", f"recall@{TOPK}"]
    lines.append(tabulate(rows, heads, floatfmt=("", "", *(".1f",) * 6, ".4f")))
    for row in result["rows"]:
        if "clients" in row:
            first, last = row["memory_mib"][0], row["memory_mib"][-1]
            lines.append(
                f"\n{row['clients']} clients, {row['seconds']} s: {row['requests']:,} requests, "
                f"{row['lost']} lost, {row['per_second']:.0f} a second, median "
                f"{row['median_ms']:.0f} ms, p99 {row['p99_ms']:.0f} ms, memory "
                f"{first:,.0f} to {last:,.0f} MiB"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
