"""Speed and memory of encoders, and what padding costs: ``python -m benchmarks.encode``."""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.encode_inputs import (
    MEDIA,
    draw_pictures,
    draw_texts,
    generated,
    media,
    numbered,
)
from benchmarks.measuring import (
    PeakMemory,
    arguments,
    in_fresh_process,
    machine,
    positive,
    report,
)
from dataset_builders.encoders import choose, minilm
from dataset_builders.encoders.hub import transformers
from dataset_builders.encoders.interface import Encoder
from dataset_builders.encoding import encode
from recbole_missrec import processes
from recbole_missrec.words import say

DESCRIPTION = """\
Three measurements of dataset_builders on the processor:

  speed    items a second with the encoders of the extra offline: one process with all threads, and
           two with half of them each; imports are not counted
  padding  texts a second by minilm, batches by length against batches of 32 as the texts come, both
           padded to their longest text; in turns, medians
  memory   highest memory beside the inputs and the encoder, of generated items; Linux

Texts and pictures are those of ml-100k-media in MISSREC_DATA, or ../shared/data, repeated as need
be; where that folder is absent they are generated, and the figures say so.
"""

SPEED = {"minilm": "text", "efficientnet": "image"}
MEMORY = {"tfidf": "text", "histogram": "image", "tiny": "text"}
BATCH = 32  # texts, of the batches that are not sorted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        argv: words of the command line; those of the process by default.

    Returns:
        Exit status: 0, or 2 after a message about bad input.
    """
    parser = arguments("benchmarks.encode", DESCRIPTION)
    add = parser.add_argument
    add("--items", type=positive, default=2000, metavar="N", help="of speed; default: 2000")
    add("--texts", type=positive, default=256, metavar="N", help="of padding; default: 256")
    add("--repeats", type=positive, default=5, metavar="N", help="of padding; default: 5")
    for option, known in (("speed", SPEED), ("memory", MEMORY)):
        names = " ".join(known)
        add(
            f"--{option}",
            nargs="*",
            default=list(known),
            choices=known,
            metavar="NAME",
            help=f"encoders of {option}; default: {names}",
        )
    add(
        "--generated",
        type=positive,
        nargs="+",
        default=[100_000, 1_000_000],
        metavar="N",
        help="items of memory; default: 100000 1000000",
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return report([args.out], lambda: run(args, Path(folder)), table)


def run(args: Any, folder: Path) -> dict[str, Any]:
    """Make the inputs and measure.

    Args:
        args: of the command line.
        folder: for whatever is written.

    Returns:
        What ``--out`` holds.
    """
    folder_of_media = Path(os.environ.get("MISSREC_DATA", "../shared/data")) / MEDIA
    real = folder_of_media.is_dir()
    inputs = media(args.items, folder_of_media) if real else generated(args.items, folder)
    speed, memory = [], []
    for name in args.speed:
        for count, threads in ((1, args.threads), (2, max(1, args.threads // 2))):
            say(f"speed: {name}, {count} x {threads} threads")
            seconds = encode_by(count, threads, name, inputs[SPEED[name]], folder)
            rate = args.items / seconds
            speed.append(
                {"encoder": name, "processes": count, "threads": threads, "items_per_second": rate}
            )
    say("padding")
    texts = list(islice(cycle(inputs["text"].values()), args.texts))
    padding = compare_padding(texts, args.repeats, args.threads)
    for items in args.generated:
        for name in args.memory:
            say(f"memory: {name}, {items:,} items")
            memory.append(in_fresh_process(measure_memory, name, items, args.threads, folder))
    return {
        **machine(args.threads),
        "inputs": MEDIA if real else "generated",
        "items": args.items,
        "speed": speed,
        "padding": {"texts": args.texts, **padding},
        "memory": memory,
    }


def encode_by(count: int, threads: int, name: str, inputs: dict[str, Any], folder: Path) -> float:
    """Seconds that so many processes of so many threads take to encode."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        given = (threads, name, inputs, Path(work))
        if count == 1:
            return encode_as({}, *given)
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            tasks = [pool.submit(encode_as, environment, *given) for environment in places(count)]
            return max(task.result() for task in tasks)


def places(count: int) -> list[dict[str, str]]:
    """What torchrun would set for each process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count))
    return [sizes | master | rank for rank in ranks]


def encode_as(
    environment: dict[str, str], threads: int, name: str, inputs: dict[str, Any], work: Path
) -> float:
    """Seconds that this process takes, as one of those that torchrun starts."""
    os.environ |= environment
    encoder = ready(choose(SPEED[name], name), threads)
    processes.from_first(lambda: None)
    start = time.perf_counter()
    encode(inputs, encoder, work)
    return time.perf_counter() - start


def ready(encoder: Encoder, threads: int) -> Encoder:
    """The encoder, its libraries imported."""
    torch.set_num_threads(threads)
    encoder.load(processes.device())
    return encoder


def compare_padding(texts: list[str], repeats: int, threads: int) -> dict[str, float]:
    """Texts a second in batches by length, and in batches as the texts come, in turns."""
    encoder = ready(choose("text", "minilm"), threads)
    loaded = encoder.load(torch.device("cpu"))
    library, folder = transformers(), minilm.package_folder()
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    model = library.AutoModel.from_pretrained(folder).eval()

    def as_they_come() -> None:
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                texts[start : start + BATCH],
                padding=True,
                truncation=True,
                max_length=minilm.LONGEST,
                return_tensors="pt",
            )
            with torch.inference_mode():
                model(**batch)

    forms = {"by_length": lambda: list(loaded.encode(texts)), "as_they_come": as_they_come}
    taken: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(repeats):
        for form, encode_all in forms.items():
            start = time.perf_counter()
            encode_all()
            taken[form].append(time.perf_counter() - start)
    rates = {form: len(texts) / median(times) for form, times in taken.items()}
    return {**rates, "times_as_fast": rates["by_length"] / rates["as_they_come"]}


def measure_memory(name: str, items: int, threads: int, folder: Path) -> dict[str, Any]:
    """Highest memory while generated items are encoded; to be called in a fresh process."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        inputs: dict[str, Any]
        if MEMORY[name] == "image":
            inputs = draw_pictures(items, (64, 64), Path(made))
        else:
            inputs = numbered(draw_texts(items, mean=2.3, deviation=0.5), items)
        options = {"model": str(save_tiny(Path(made) / "model"))} if name == "tiny" else {}
        encoder = choose(MEMORY[name], "bert" if name == "tiny" else name, False, **options)
        ready(encoder, threads)
        start = time.perf_counter()
        with PeakMemory() as memory:
            encoded = encode(inputs, encoder, Path(made) / "work")
        assert encoded is not None
        return {
            "encoder": name,
            "items": items,
            "seconds": time.perf_counter() - start,
            "memory_mib": memory.mib,
            "output_mib": encoded.features.matrix.nbytes / 2**20,
        }


def save_tiny(folder: Path) -> Path:
    """A BertModel of 16 dimensions with random weights and the vocabulary of minilm."""
    library = transformers()
    tokenizer = library.AutoTokenizer.from_pretrained(minilm.package_folder())
    tokenizer.save_pretrained(folder)
    config = library.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    library.BertModel(config).save_pretrained(folder)
    return folder


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    padding = result["padding"]
    speed = [
        [row["encoder"], f"{row['processes']} x {row['threads']}", row["items_per_second"]]
        for row in result["speed"]
    ]
    memory = [
        [row[key] for key in ("encoder", "items", "seconds", "memory_mib", "output_mib")]
        for row in result["memory"]
    ]
    return "\n\n".join(
        [
            f"\n{result['items']:,} items, {result['inputs']}; {result['cpu']}",
            tabulate(speed, ["", "processes x threads", "items a second"], floatfmt=",.1f"),
            f"minilm, {padding['texts']:,} texts: {padding['by_length']:.1f} texts a second in "
            f"batches by length, {padding['as_they_come']:.1f} as they come: "
            f"{padding['times_as_fast']:.2f} times as fast",
            tabulate(
                memory,
                ["", "items", "seconds", "memory MiB", "output MiB"],
                floatfmt=",.1f",
                intfmt=",",
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
