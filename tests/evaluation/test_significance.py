"""Paired comparison of two models, and the command for it."""

import json
import subprocess
import sys
import tracemalloc
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap, norm, permutation_test

from recbole_missrec.errors import UsageError
from recbole_missrec.evaluation.__main__ import main
from recbole_missrec.evaluation.per_user import write_per_user
from recbole_missrec.evaluation.ranking import per_row_metric
from recbole_missrec.evaluation.significance import Comparison, compare, compare_all, holm

ROOT = Path(__file__).parents[2]


def ranked(better: list[int] | np.ndarray) -> pd.DataFrame:
    """Users u0, u1, ... with so many candidates above their targets, without ties."""
    return pd.DataFrame(
        {
            "user": [f"u{row}" for row in range(len(better))],
            "target": [f"i{row}" for row in range(len(better))],
            "better": np.asarray(better, dtype=np.int64),
            "equal": np.zeros(len(better), dtype=np.int64),
        }
    )


def test_six_users_by_hand() -> None:
    """Six differences of +1: of the 64 sign patterns, two are as extreme, so p = 2 / 64."""
    ahead, behind = ranked([0] * 6), ranked([1] * 6)
    expected = Comparison(
        metric="hit",
        k=1,
        users=6,
        mean_a=1,
        mean_b=0,
        difference=1,
        low=1,
        high=1,
        relative=None,  # b has no hit
        relative_low=None,
        relative_high=None,
        p_value=1 / 32,
    )
    assert compare([ahead], [behind], "Hit", 1) == expected
    assert expected.verdict == "better"

    reverse = compare([behind], [ahead], "hit", 1)
    assert (reverse.difference, reverse.low, reverse.high) == (-1, -1, -1)
    assert (reverse.p_value, reverse.verdict) == (1 / 32, "worse")
    assert (reverse.relative, reverse.relative_low, reverse.relative_high) == (-1, -1, -1)


def test_five_users_are_too_few_for_the_level() -> None:
    """Five differences of +1 and a zero: p = 2 / 32; the zero changes the mean, not p."""
    found = compare([ranked([0] * 6)], [ranked([1] * 5 + [0])], "hit", 1)
    assert found.difference == pytest.approx(5 / 6)
    assert found.p_value == 2 / 32
    assert found.verdict == "no significant difference"


def test_users_without_a_difference_do_not_change_p() -> None:
    """Of 2,000 users six differ: their 64 sign patterns are still all tried."""
    found = compare([ranked([0] * 2000)], [ranked([1] * 6 + [0] * 1994)], "hit", 1)
    assert found.difference == pytest.approx(6 / 2000)
    assert found.p_value == 1 / 32


def test_one_user_who_differs_says_nothing() -> None:
    assert compare([ranked([0, 0, 0])], [ranked([1, 0, 0])], "hit", 1).p_value == 1


def test_p_value_is_that_of_all_sign_patterns() -> None:
    a, b = ranked([0, 3, 1, 9, 0, 4, 2, 0]), ranked([2, 1, 6, 9, 1, 8, 30, 1])
    ndcg = [
        per_row_metric(torch.tensor(table["better"]), torch.tensor(table["equal"]), "ndcg", 10)
        for table in (a, b)
    ]
    differences = (ndcg[0] - ndcg[1]).numpy()
    flipped = [np.mean(np.array(signs) * differences) for signs in product([1, -1], repeat=8)]
    extreme = np.abs(flipped) >= np.abs(differences.mean()) - 1e-12

    found = compare([a], [b], "ndcg", 10)

    assert found.p_value == pytest.approx(extreme.mean(), abs=1e-15)
    assert 0 < found.p_value < 1
    assert compare([b], [a], "ndcg", 10).p_value == found.p_value


def test_many_users_agree_with_the_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 30, 3000), rng.integers(0, 34, 3000)
    hits: np.ndarray = (a < 10).astype(float) - (b < 10)
    error = hits.std() / np.sqrt(3000)

    found = compare([ranked(a)], [ranked(b)], "hit", 10)

    assert found.difference == pytest.approx(hits.mean())
    assert found.low == pytest.approx(hits.mean() - 1.96 * error, abs=0.05 * error)
    assert found.high == pytest.approx(hits.mean() + 1.96 * error, abs=0.05 * error)
    z = hits.mean() / np.sqrt((hits**2).mean() / 3000)
    assert 0.001 < found.p_value < 0.2
    assert found.p_value == pytest.approx(2 * norm.sf(abs(z)), abs=0.02)


def hits(rng: np.random.Generator, chances: np.ndarray | float, users: int = 100) -> pd.DataFrame:
    """Users with a hit at 1 by chance."""
    return ranked((rng.random(users) >= chances).astype(int))


def test_one_seed_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = hits(rng, 0.3, 400), hits(rng, 0.2, 400)
    pair = [(table["better"] == 0).to_numpy().astype(float) for table in (a, b)]
    random = {"random_state": np.random.default_rng(1), "n_resamples": 10_000}

    found = compare([a], [b], "hit", 1)

    for statistic, low, high in (
        (lambda a, b, axis: (a - b).mean(axis), found.low, found.high),
        (
            lambda a, b, axis: a.mean(axis) / b.mean(axis) - 1,
            found.relative_low,
            found.relative_high,
        ),
    ):
        theirs = bootstrap(
            pair, statistic, paired=True, vectorized=True, method="percentile", **random
        ).confidence_interval
        assert (low, high) == pytest.approx(theirs, abs=0.05 * (theirs.high - theirs.low))
    test = permutation_test((pair[0] - pair[1],), np.mean, permutation_type="samples", **random)
    assert 0.005 < found.p_value < 0.05
    assert found.p_value == pytest.approx(test.pvalue, abs=0.004)
    assert found.relative == pytest.approx(pair[0].mean() / pair[1].mean() - 1)


def test_interval_is_over_users_and_seeds() -> None:
    """Against every draw of three users, of three seeds of a and of two of b."""
    a = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1]])  # [seeds, users]
    b = np.array([[0, 0, 1], [0, 1, 1]])
    means = [
        a[np.ix_(seeds_a, users)].mean() - b[np.ix_(seeds_b, users)].mean()
        for users in product(range(3), repeat=3)
        for seeds_a in product(range(3), repeat=3)
        for seeds_b in product(range(2), repeat=2)
    ]
    of_a, of_b = ([ranked(1 - hit) for hit in model] for model in (a, b))
    found = compare(of_a, of_b, "hit", 1, 100_000)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=1e-9)
    one_seed_each = compare(of_a[:1], of_b[:1], "hit", 1, 100_000)
    assert found.low < one_seed_each.low == 0


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    alike = [hits(rng, 0.5, 1000) for _ in range(3)]
    unlike = [hits(rng, chance, 1000) for chance in (0.35, 0.5, 0.65)]
    other = [hits(rng, 0.5, 1000)]
    near, far = (compare(model, other, "hit", 1, 2000) for model in (alike, unlike))
    assert far.high - far.low > 2 * (near.high - near.low)


def test_relative_difference_where_b_has_few_hits() -> None:
    """No hit of b in about a third of the resamples, of which some decide the upper end."""
    a, b = ranked([0] * 10), ranked([0] + [1] * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare([a], [b], "hit", 1)
    assert found.relative == pytest.approx(9)
    assert found.relative_low == pytest.approx(10 / 3 - 1)
    assert found.relative_high is None


def test_holm_by_hand() -> None:
    """Times 4, 3, 2, 1 from the smallest on, none less than one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.02]) == pytest.approx([1, 1, 0.06])
    assert holm([0.3]) == [0.3]


def test_all_pairs_of_a_family() -> None:
    rng = np.random.default_rng(0)
    models = {
        "first": [hits(rng, 0.5) for _ in range(2)],
        "second": [hits(rng, 0.2)],
        "third": [hits(rng, 0.3) for _ in range(3)],
    }
    found = compare_all(models, "hit", 1, 2000)
    assert [(row.a, row.b) for row in found] == [
        ("first", "second"),
        ("first", "third"),
        ("second", "third"),
    ]
    assert [row.p_holm for row in found] == holm([row.p_value for row in found])
    for row in found:
        alone = compare(models[row.a], models[row.b], "hit", 1, 2000)
        assert row.p_value == alone.p_value
        assert (row.difference, row.relative) == (alone.difference, alone.relative)
        width = alone.high - alone.low
        assert (row.low, row.high) == pytest.approx((alone.low, alone.high), abs=0.05 * width)
    with pytest.raises(UsageError, match="two models or more"):
        compare_all({"first": models["first"]}, "hit", 1)


def test_verdict_of_a_family_is_by_the_adjusted_value() -> None:
    """Six users: p = 1 / 32 for each of the two models that differ from the others, times 5."""
    best, worst = [ranked([0] * 6)], [ranked([1] * 6)]
    rows = compare_all({"best": best, "worst": worst, "other": worst}, "hit", 1)
    assert [row.p_value for row in rows] == [1 / 32, 1 / 32, 1]
    assert [row.p_holm for row in rows] == [3 / 32, 3 / 32, 1]
    assert {row.verdict for row in rows} == {"no significant difference"}
    assert compare_all({"best": best, "worst": worst}, "hit", 1)[0].verdict == "better"


@pytest.mark.slow
def test_equal_models_differ_significantly_in_one_test_of_twenty() -> None:
    """Of 300 pairs of models with the same chances for each user, over two seeds each."""
    rng = np.random.default_rng(0)
    chances = rng.beta(1, 2, size=80)
    significant = covered = 0
    for _ in range(300):
        a, b = ([hits(rng, chances, 80) for _ in range(2)] for _ in range(2))
        found = compare(a, b, "hit", 1, 400)
        significant += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert 0.025 < significant / 300 < 0.075  # two standard errors are .025
    assert covered / 300 > 0.93


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    found = [
        compare([hits(rng, 0.2, 400)], [hits(rng, 0.1, 400)], "hit", 1, 400) for _ in range(100)
    ]
    power = norm.sf(1.96 - 0.1 / np.sqrt((0.2 * 0.8 + 0.1 * 0.9) / 400))  # .98
    assert sum(row.verdict == "better" for row in found) / 100 == pytest.approx(power, abs=0.05)


def test_memory_does_not_grow_with_pairs_times_users() -> None:
    rng = np.random.default_rng(0)
    models = {str(n): [hits(rng, 0.3, 3000)] for n in range(20)}
    tracemalloc.start()
    compare_all(models, "hit", 1, 4000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20


def test_the_seed_decides_the_resamples() -> None:
    rng = np.random.default_rng(0)
    a, b = [ranked(rng.integers(0, 30, 100))], [ranked(rng.integers(0, 30, 100))]
    assert compare(a, b, "ndcg", 10, 500) == compare(a, b, "ndcg", 10, 500)
    assert compare(a, b, "ndcg", 10, 500) != compare(a, b, "ndcg", 10, 500, seed=1)


def test_equal_results_without_a_warning() -> None:
    table = ranked(np.arange(2000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare([table], [table], "ndcg", 50)
        compare([table], [ranked(np.arange(2000)[::-1])], "ndcg", 2000, 50)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.verdict == "no significant difference"


def test_seeds_are_averaged_for_each_user() -> None:
    """a has hit@1 of (1, 0) and (1, 1) in its two seeds, b (0, 0) in its one."""
    seeds = [ranked([0, 1]), ranked([0, 0])]
    found = compare(seeds, [ranked([1, 1])], "hit", 1)
    assert (found.users, found.mean_a, found.mean_b) == (2, 3 / 4, 0)
    assert (found.low, found.high) == (0, 1)  # both times u1 of the first seed, both times u0


def test_the_order_of_the_seeds_does_not_matter() -> None:
    """Sums in another order differ in the last digit, which is not a difference of models."""
    rng = np.random.default_rng(0)
    seeds = [ranked(rng.integers(0, 10, 50)).assign(equal=2) for _ in range(3)]
    found = compare(seeds, [seeds[1], seeds[2], seeds[0]], "ndcg", 10)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low < 0 < found.high  # other seeds could have been drawn


def test_rows_are_paired_by_user_and_target() -> None:
    table = ranked([0, 4, 9, 2])
    found = compare([table], [table.iloc[[2, 0, 3, 1]]], "mrr", 10)
    assert (found.low, found.high, found.p_value) == (0, 0, 1)


def test_users_that_are_not_common() -> None:
    table = ranked([0, 1, 2, 3])
    with pytest.raises(UsageError, match=r": 2 of 4 \(user, target\) pairs are missing"):
        compare([table.iloc[:3]], [table.iloc[1:]], "hit", 1)
    with pytest.raises(UsageError, match=r": 1 of 4 \(user, target\) pairs are missing"):
        compare([table, table.iloc[1:]], [table], "hit", 1)
    with pytest.raises(UsageError, match=r": 8 of 8 \(user, target\) pairs are missing"):
        compare([table], [table.assign(target="other")], "hit", 1)


def test_a_single_user_is_not_compared() -> None:
    with pytest.raises(UsageError, match="two users or more"):
        compare([ranked([0])], [ranked([1])], "hit", 1)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """a is ahead of b for all six users; a has two seeds, b one."""
    for name, model, seed, better in (
        ("a1", "MISSRec", 1, 0),
        ("a2", "MISSRec", 2, 0),
        ("b1", "SASRec", 1, 20),
    ):
        table = ranked([better] * 6)
        columns = {
            "user": table["user"],
            "target": table["target"],
            "better": torch.tensor(table["better"]),
            "equal": torch.tensor(table["equal"]),
            "score": [0.5] * 6,
            "length": [2] * 6,
            "popularity": [1] * 6,
            "modalities": ["text"] * 6,
            "category": [None] * 6,
        }
        path = tmp_path / f"{name}.parquet"
        write_per_user(path, columns, model=model, dataset="Toy", seed=seed)
    return tmp_path


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recbole_missrec.evaluation"]
        + ["--a", str(folder / "a1.parquet"), str(folder / "a2.parquet")]
        + ["--b", str(folder / "b1.parquet"), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_command_prints_a_table_and_writes_json(results: Path) -> None:
    done = run(results, "--json", str(results / "table.json"))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [  # b's rank of 21 has the gain 1 / log2(22) = .2242
        "A: MISSRec on Toy, seed 1; MISSRec on Toy, seed 2",
        "B: SASRec on Toy, seed 1",
        "6 users",
        "",
        "metric               A        B     A - B   95 % interval        "
        "A / B - 1   95 % interval             p   A is",
        "recall@10       1.0000   0.0000   +1.0000   [+1.0000, +1.0000]   "
        "        -   [-, -]               0.0312   better",
        "ndcg@10         1.0000   0.0000   +1.0000   [+1.0000, +1.0000]   "
        "        -   [-, -]               0.0312   better",
        "recall@50       1.0000   1.0000   +0.0000   [+0.0000, +0.0000]   "
        "    +0.0%   [+0.0%, +0.0%]       1.0000   no significant difference",
        "ndcg@50         1.0000   0.2242   +0.7758   [+0.7758, +0.7758]   "
        "  +345.9%   [+345.9%, +345.9%]   0.0312   better",
    ]
    written = json.loads((results / "table.json").read_text())
    assert written["b"] == [{"model": "SASRec", "dataset": "Toy", "seed": "1"}]
    assert len(written["comparisons"]) == 4
    assert written["comparisons"][0] == {
        "metric": "recall",
        "k": 10,
        "users": 6,
        "mean_a": 1.0,
        "mean_b": 0.0,
        "difference": 1.0,
        "low": 1.0,
        "high": 1.0,
        "relative": None,
        "relative_low": None,
        "relative_high": None,
        "p_value": 0.03125,
        "verdict": "better",
    }


def test_command_refuses_an_unknown_metric(results: Path) -> None:
    done = run(results, "--metric", "recall", "NDGC")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no metric 'NDGC': did you mean 'ndcg'?\n"


def test_messages_of_the_command(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = str(results / "a1.parquet"), str(results / "b1.parquet")
    for argv, message in (
        (["--a", a, "--b", b, "--k", "0"], "k must be from 1 to 1000000, not 0\n"),
        (["--a", b[:-1], "--b", b, "--metric", "mpa"], "no metric 'mpa': did you mean 'map'?\n"),
        (["--a", a, "--b", b[:-1]], f"{b[:-1]}: no such file: did you mean 'b1.parquet'?\n"),
        (
            ["--a", a, "--b", b, "--json", a],
            f"--json {a}: would overwrite one of the results to compare\n",
        ),
    ):
        assert main(argv) == 2
        assert capsys.readouterr() == ("", message)
    assert main(["--a", a, "--b", b]) == 0  # the results are still there
