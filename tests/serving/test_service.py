"""The service over HTTP: what it answers, what it refuses, a checkpoint exchanged under load."""

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from recbole_missrec.cli import main
from recbole_missrec.serving import shelf
from recbole_missrec.serving.recommender import Recommender
from recbole_missrec.serving.service import LONGEST, MOST_BYTES
from tests.map.test_item_files import picture
from tests.serving.running import demo
from tests.serving.test_items import new_features

pytestmark = pytest.mark.slow  # a server starts


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service of MISSRec and UniSRec, with a picture of i7 and a broken one."""
    folder = tmp_path_factory.mktemp("pictures")
    picture(folder / "i7.jpg")
    (folder / "i8.jpg").write_bytes(b"no picture")
    words = f"--beside={trained / 'UniSRec.pth'}", f"--pictures={folder}"
    with demo(trained / "MISSRec.pth", *words) as (url, _), httpx.Client(base_url=url) as client:
        yield client


def test_models_items_and_pictures(served: httpx.Client) -> None:
    models = served.get("/api/models").json()
    assert [(m["name"], m["model"], m["items"], m["explains"]) for m in models] == [
        ("MISSRec", "MISSRec", 24, True),
        ("UniSRec", "UniSRec", 24, False),
    ]
    found = served.get("/api/items", params={"model": "MISSRec", "words": "TITLE 1", "limit": 99})
    assert {item["title"] for item in found.json()} == {f"Title {n}" for n in (1, *range(10, 20))}
    found = served.get("/api/items", params={"model": "MISSRec", "words": "i7"}).json()
    assert found == [{"item": "i7", "title": "Title 7", "picture": True}]
    image = served.get("/api/picture", params={"model": "MISSRec", "item": "i7"})
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize("model", ["MISSRec", "UniSRec"])
def test_recommendations_are_those_of_the_recommender(
    served: httpx.Client, trained: Path, model: str
) -> None:
    recommender = Recommender.load(trained / f"{model}.pth")
    for history, exclude in ((["i3", "zz", "i7"], False), (["i3"], True), ([], False)):
        asked = {"model": model, "history": history, "topk": 5, "exclude_history": exclude}
        plain = served.post("/api/recommend", json=asked).json()
        assert plain["interests"] == [] and not any(item["parts"] for item in plain["items"])
        asked["explain"] = True
        told = served.post("/api/recommend", json=asked).json()
        (row,) = recommender.recommend([history], k=5, exclude_history=exclude)
        assert [item["item"] for item in told["items"]] == row["items"]
        assert [item["score"] for item in told["items"]] == pytest.approx(row["scores"], abs=1e-5)
        assert (told["unknown"], told["fallback"]) == (row["unknown"], row["fallback"])
        explained = model == "MISSRec" and bool(history)
        assert len(told["history"]) == len([i for i in history if i != "zz"]) * explained
        for item in told["items"]:
            total = sum(part["contribution"] for part in item["parts"])
            assert total == pytest.approx(item["score"], abs=1e-5) or not explained


def test_an_explanation_and_items_alike(served: httpx.Client) -> None:
    told = served.post(
        "/api/explain", json={"model": "MISSRec", "history": ["i3", "i7"], "item": "i9"}
    ).json()
    assert sum(part["contribution"] for part in told["parts"]) == pytest.approx(told["score"])
    assert told["interests"][0]["typical"][0]["title"].startswith(("Title", "<img"))
    alike = served.get("/api/similar", params={"model": "MISSRec", "item": "i4", "topk": 3}).json()
    assert len(alike) == 3 and alike[0]["cosine"] >= alike[1]["cosine"]


def test_the_calls_are_described(served: httpx.Client) -> None:
    described = served.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    assert {"/api/models", "/api/items", "/api/recommend", "/api/explain", "/api/similar"} < set(
        described["paths"]
    )
    asked = described["components"]["schemas"]["AskedToRecommend"]["properties"]
    assert asked["topk"]["maximum"] == 100 and asked["history"]["maxItems"] == LONGEST


ASKED = {"model": "MISSRec", "history": ["i3"]}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("status", "asked", "message"),
    [
        (404, ASKED | {"model": "MISSRek"}, "model=MISSRek: no such model; did you mean 'MISSR"),
        (422, ASKED | {"topk": 0}, "greater than or equal to 1"),
        (422, ASKED | {"topk": 101}, "less than or equal to 100"),
        (422, ASKED | {"topk": "5"}, "valid integer"),
        (422, ASKED | {"history": ["i3"] * (LONGEST + 1)}, "at most 1000 items"),
        (422, ASKED | {"history": "i3"}, "valid list"),
        (422, ASKED | {"history": [3]}, "valid string"),
        (422, ASKED | {"history": ["i" * 257]}, "at most 256 characters"),
        (422, ASKED | {"top_k": 3}, "Extra inputs are not permitted"),
        (422, {"model": "MISSRec"}, "Field required"),
        (413, ASKED | {"more": "x" * MOST_BYTES}, f"the body has more than {MOST_BYTES} bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_calls(served: httpx.Client, status: int, asked: dict, message: str) -> None:
    answer = served.post("/api/recommend", json=asked)
    assert answer.status_code == status
    assert message in json.dumps(answer.json()["detail"], ensure_ascii=False)


def test_more_bad_calls(served: httpx.Client) -> None:
    assert served.post("/api/recommend", content=b"{").status_code == 422
    for odd, place in (
        ('"topk": NaN', ["body", "topk"]),
        ('"topk": 1e999', ["body", "topk"]),
        (r'"item": "\ud800"', ["body", "item"]),
        (r'"\ud800": 1', ["body"]),
    ):
        body = f'{{"model": "x", "history": [], {odd}}}'
        answer = served.post("/api/recommend", content=body, headers=JSON)
        (wrong,) = answer.json()["detail"]
        assert answer.status_code == 422
        assert wrong["loc"] == place and set(wrong) == {"type", "loc", "msg"}
    assert served.get("/api/recommend").status_code == 405
    assert served.get("/nothing").status_code == 404
    endless = (b" " * 1024 for _ in range(1000))  # without a length that tells
    assert served.post("/api/recommend", content=endless).status_code == 413
    for path, message in (
        ("/api/picture?model=MISSRec&item=i9", "item=i9: has no picture"),
        ("/api/picture?model=MISSRec&item=i8", "item=i8: its picture does not decode"),
        ("/api/similar?model=MISSRec&item=i99", "item=i99: no such item; did you mean 'i9'?"),
    ):
        answer = served.get(path)
        assert answer.status_code == 404 and answer.json()["detail"] == message
    answer = served.post("/api/explain", json=ASKED | {"model": "UniSRec", "item": "i9"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "UniSRec explains no scores")
    answer = served.post("/api/explain", json=ASKED | {"history": ["zz"], "item": "i9"})
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "history: none of its items is known",
    )
    # a page of another site, whose name leads here, is not answered
    assert served.get("/api/models", headers={"host": "evil.example"}).status_code == 400


def test_a_checkpoint_is_exchanged_and_items_added_without_losing_a_request(
    shop: Path, trained: Path
) -> None:
    folder = Path("models").absolute()
    folder.mkdir()
    served = folder / "now.pth"
    shutil.copy(trained / "MISSRec.pth", served)
    answers: list[tuple[int, str]] = []
    ended = threading.Event()

    with demo(served) as (url, process):

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                while not ended.is_set():
                    asked = {"model": "now", "history": ["i3", "i7"], "topk": 30, "explain": True}
                    answer = client.post("/api/recommend", json=asked)
                    items = len(answer.json()["items"]) if answer.status_code == 200 else 0
                    parts = answer.json()["items"][0]["parts"] if items else []
                    answers.append((answer.status_code, f"{items} {bool(parts)}"))

        def until(wanted: str) -> None:
            limit = time.monotonic() + 30
            while answers[-1:] != [(200, wanted)]:
                assert time.monotonic() < limit, answers[-1:]
                time.sleep(0.05)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            until("24 True")
            shutil.copy(trained / "UniSRec.pth", folder / "next")
            os.replace(folder / "next", served)
            until("24 False")  # UniSRec explains nothing
            features = new_features(shop, "text", {"new": "i9"})
            assert main(["add-items", str(served), f"--features={features}"]) == 0
            until("25 False")
            served.write_bytes(b"damaged")  # the last good one stays
            time.sleep(1.5)
            until("25 False")
        finally:
            ended.set()
            for client in clients:
                client.join()
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
    assert {status for status, _ in answers} == {200}
    assert said.count("now has changed and is loaded anew") == 2
    assert "now is kept as it was: " in said and "damaged, or not a checkpoint" in said


def test_an_error_of_any_kind_keeps_the_old_model(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(trained / "UniSRec.pth", "now.pth")
    models = shelf.Shelf(["now.pth"], {}, {"titles": "", "pictures": "", "approximate": False})
    before = models.take("now")

    def fail(*how: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(shelf, "Served", fail)
    os.utime("now.pth", (0, 0))
    capsys.readouterr()
    models.refresh()
    assert "now is kept as it was: MemoryError('too large')" in capsys.readouterr().err
    assert models.take("now") is before


def test_bad_input(trained: Path, refused: Callable[..., str]) -> None:
    checkpoint = trained / "MISSRec.pth"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, message in (
            (["--port=x"], "--port=x: must be a whole number from 0"),
            (["--port=99999"], "--host=127.0.0.1 --port=99999: "),
            ([f"--port={port}"], f"--host=127.0.0.1 --port={port}: Address already in use"),
            (["--host=nowhere.invalid"], "--host=nowhere.invalid --port=8000: "),
            (["--approximate=yes"], "--approximate=yes: must be True or False"),
            (["--ports=1"], "--ports: demo has no such option; did you mean 'port'?"),
            (["--port=0", "--beside=no.pth"], "no.pth: cannot be read: No such file"),
            (["--port=0", f"--beside={checkpoint}"], f"--beside={checkpoint}: has the name of"),
            (["--port=0", "--titles=no.tsv"], "no.tsv: cannot be read: No such file"),
        ):
            assert refused("demo", checkpoint, *words).startswith(message)
