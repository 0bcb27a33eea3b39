"""Interest discovery as catalogues grow: ``python -m benchmarks.interests``."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import psutil
import torch
from sklearn.metrics import adjusted_rand_score
from tabulate import tabulate
from torch import Tensor

from benchmarks.dense import dense_density_peaks
from benchmarks.measuring import (
    PeakMemory,
    add_dataset,
    arguments,
    build,
    in_fresh_process,
    machine,
    measure_each,
    positive,
    report,
)
from benchmarks.tokens import jittered_tokens, structured_tokens
from recbole_missrec.interests.density_peaks import density_peaks
from recbole_missrec.interests.health import changed_share
from recbole_missrec.interests.kmeans import kmeans

DESCRIPTION = """\
Cluster item tokens of 300 dimensions on the processor, each time in a process of its own:

  structured  generated: groups of uneven sizes within topics (benchmarks/tokens.py)
  real        those of MISSRec on --dataset before training, tiled and jittered

  dense       density peaks with the matrix of all pairs, to 20,000 tokens
  exact       dpc_knn, which gives the same, to 100,000 tokens
  index       dpc_knn_ivf, the approximate search; to 100,000 tokens compared with the exact result:
              share of equal assignments (clusters matched by their tokens), adjusted Rand index
  kmeans      by scikit-learn, or by faiss where tokens times clusters are more than 2*10^7

Interests are --ratios of the tokens; k is --neighbours. MiB are the highest of the process, with
PyTorch and the tokens. What is in --out is not measured again, so that an interrupted run goes on.
"""
TOKENS = (10**3, 10**4, 2 * 10**4, 10**5, 10**6, 2 * 10**6)
RATIOS = (0.02, 0.5)
KINDS = ("structured", "real")
DIM = 300
SEED = 2020
Clustering = Callable[[Tensor, int, int], tuple[Tensor, Tensor]]
METHODS: dict[str, Clustering] = {
    "dense": dense_density_peaks,
    "exact": density_peaks,
    "index": lambda points, clusters, k: density_peaks(points, clusters, k, index_seed=SEED),
    "kmeans": lambda points, clusters, k: kmeans(points, clusters, SEED),
}
LARGEST = {"dense": 2 * 10**4, "exact": 10**5}  # tokens; others have no limit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.interests", DESCRIPTION)
    add_dataset(parser)
    add = parser.add_argument
    add(
        "--tokens", type=positive, nargs="+", default=TOKENS, metavar="N", help=f"default: {TOKENS}"
    )
    add("--ratios", type=share, nargs="+", default=RATIOS, metavar="R", help=f"default: {RATIOS}")
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="NAME")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    add("--neighbours", type=positive, default=20, metavar="K", help="default: 20")
    args = parser.parse_args(argv)
    return report([args.out], lambda: run(args), table)


def share(word: str) -> float:
    """A number above 0 and at most 1, for argparse."""
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a number above 0 and at most 1")
    return value


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each method at each size, in a process of its own."""
    identity = {**machine(args.threads), "dim": DIM, "neighbours": args.neighbours}
    identity |= {"dataset": args.dataset}
    points = [
        {"kind": kind, "tokens": tokens, "ratio": ratio, "method": method}
        for tokens in args.tokens
        for ratio in args.ratios
        for kind in args.kinds
        for method in args.methods
        if tokens <= LARGEST.get(method, tokens)
    ]
    real = None
    if "real" in args.kinds:
        real = in_fresh_process(real_tokens, args.dataset, args.data_path, args.threads)
    measuring = partial(measure, real, args.neighbours, args.threads)
    return measure_each(args.out, identity, points, measuring)


def real_tokens(dataset: str, data_path: str, threads: int) -> Any:
    """Tokens of the items of a data set, of all modalities, ``[tokens, DIM]``."""
    model = build("MISSRec", dataset, threads, data_path=data_path, hidden_size=DIM).model
    with torch.no_grad():
        return model.item_tokens()[model.present].numpy()


def measure(real: Any, neighbours: int, threads: int, point: dict[str, Any]) -> dict[str, Any]:
    """One method at one point.

    Args:
        real: tokens that are tiled, ``[tokens, DIM]``, for the kind ``real``.
        neighbours: k.
        threads: of torch.
        point: kind and number of tokens, ratio of interests, method.
    """
    torch.set_num_threads(threads)
    n = point["tokens"]
    if point["kind"] == "real":
        tokens = jittered_tokens(torch.from_numpy(real), n)
    else:
        tokens = structured_tokens(n, DIM)
    wanted = max(1, round(point["ratio"] * n)), min(neighbours, max(1, n - 1))
    METHODS[point["method"]](tokens[:100], 1, 1)  # its libraries are loaded
    if find_spec("faiss"):  # which k-means asks for where there is much to do
        import_module("faiss")
    with PeakMemory() as memory:
        held = psutil.Process().memory_info().rss / 2**20
        start = time.perf_counter()
        assignment, _ = METHODS[point["method"]](tokens, *wanted)
        seconds = time.perf_counter() - start
    row = {
        "seconds": seconds,
        "peak_mib": held + memory.mib,
        "used": len(assignment.unique()),
        "equal": None,
        "rand": None,
    }
    if point["method"] == "index" and n <= LARGEST["exact"]:
        exact, _ = density_peaks(tokens, *wanted)
        row["equal"] = 1 - changed_share(exact, assignment)
        row["rand"] = adjusted_rand_score(exact, assignment)
    return row


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    columns = {
        "tokens": "tokens",
        "ratio": "interests",
        "kind": "kind",
        "method": "method",
        "seconds": "s",
        "peak_mib": "MiB",
        "used": "used",
        "equal": "as exact",
        "rand": "Rand",
    }
    rows = sorted(result["rows"], key=lambda row: (row["tokens"], row["ratio"], row["kind"]))
    return (
        f"\n{result['cpu']}, threads: {result['threads']}, torch {result['torch']}; "
        f"{result['dim']} dimensions, k {result['neighbours']}, real tokens of "
        f"{result['dataset']}\n\n"
        + tabulate(
            [[row[key] for key in columns] for row in rows],
            list(columns.values()),
            floatfmt=("", "g", "", "", ".2f", ".0f", "", ".4f", ".4f"),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
