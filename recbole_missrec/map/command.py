"""The command ``map``: a page to look at the interests of a trained model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_missrec.errors import UsageError, nearest
from recbole_missrec.files import check_writable, replacing
from recbole_missrec.map.item_files import SIDE, find_pictures, find_titles, thumbnails
from recbole_missrec.map.page import MapContent, render
from recbole_missrec.map.projection import PROJECTIONS, check_projection
from recbole_missrec.map.readings import choose_rows, read
from recbole_missrec.map.typical import typical_items, typical_words
from recbole_missrec.model.missrec import MISSRec
from recbole_missrec.quick_start import restore
from recbole_missrec.trainer.checkpoint import load_checkpoint, load_weights
from recbole_missrec.words import names, say

TYPICAL = 4  # items of an interest
WORDS = 5
PICTURES = 400
HELP = f"""\
Look at the interests of a trained MISSRec: one page (HTML) that needs no other file and no network.

  python run_recbole_missrec.py map CHECKPOINT [--out=map.html] [--key=value ...]

It shows item tokens as points of a plane, coloured by interest; the interests with their size,
typical items (nearest to the centroid) and typical words (TF-IDF of titles against the other
interests); and of some users the history before the test item, its interests, and where the
decoder's attention goes.

  --out=FILE          the page; default: map.html
  --users=A,B         raw tokens of users; default: five, drawn by the seed of the training
  --projection=pca    or umap: minutes for 100,000 tokens; `pip install umap-learn`
  --titles=FILE       raw item tokens and titles: the first two columns of a TSV (.tsv, .item) or
                      Parquet file; default: NAME.text.tsv of the data set; else raw tokens
  --pictures=DIR      pictures named by raw item token, such as B0000223UV.jpg; default: those
                      that NAME.pictures.tsv of the data set names. At most {PICTURES} are shown, of
                      {SIDE} pixels, about 1 MB in all: of items of the users, and of typical items
                      of the largest interests
  --data_path=DIR     folder of data sets, if it has moved since the training

Examples:
  python run_recbole_missrec.py map saved/MISSRec-pantry-sample-2020-*.pth
"""
OWN = {"out": "map.html", "users": "", "projection": "pca", "titles": "", "pictures": ""}
ALSO = ("data_path", "build_absent", "use_gpu", "gpu_id", "state")


def write_map(checkpoint: str, options: dict[str, str]) -> Path:
    """Write the page of a checkpoint.

    Args:
        checkpoint: path of a best checkpoint of MISSRec.
        options: of the command line, values as text.

    Returns:
        The page. The same checkpoint, data and options give the same bytes.

    Raises:
        UsageError: not a checkpoint of MISSRec with interests, an unknown option or user, the data
            set is absent or another, a file of titles or pictures is wrong, or the page cannot be
            written.
    """
    for key in options:
        if key not in (*OWN, *ALSO):
            raise UsageError(f"--{key}: map has no such option; {nearest(key, (*OWN, *ALSO))}")
    given = {key: options.pop(key, default) for key, default in OWN.items()}
    out = Path(given["out"])
    check_projection(given["projection"])
    check_writable(out)
    stored = load_checkpoint(checkpoint)
    if stored["model"] != "MISSRec":
        raise UsageError(f"{checkpoint}: of {stored['model']}, which has no interests")
    if stored["config"]["structure"] == "no_interests":
        raise UsageError(f"{checkpoint}: of --structure=no_interests; there are none to look at")
    trainer, (_, _, test_data) = restore(checkpoint, stored, options)
    load_weights(checkpoint, stored, trainer.model, trainer.data_identity)
    seed, epoch = stored["config"]["seed"], stored["epoch"]
    origin = f"Trained with seed {seed}, epoch {epoch} (from 0)" if epoch >= 0 else "Not trained"
    page = render(collect(trainer.model.eval(), test_data._dataset, given, origin))
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    say(f"{out} is written, {out.stat().st_size / 2**10:,.0f} KiB")
    return out


def collect(model: MISSRec, test: Any, given: dict[str, str], origin: str) -> MapContent:
    """Everything that the page of a model shows.

    Time and memory grow as the tokens and the words of titles; UMAP takes longer. With 50,000 items
    of two modalities, hidden size 300, the whole command takes 17 s of one processor and 1.2 GiB;
    the page has 7 MiB, with 50,000 interests 9.

    Args:
        model: in evaluation mode.
        test: the test part, a RecBole data set.
        given: the options in ``OWN``.
        origin: of the model, in words.

    Raises:
        UsageError: no such user, or a file of titles or pictures is wrong.
    """
    seed, dataset = model.options["seed"], model.options["dataset"]
    users = names("users", given["users"]) if given["users"] else []
    rows = choose_rows(test, users, seed)
    tokens = test.field2id_token[test.iid_field][1:].tolist()
    place = dataset, Path(model.options["data_path"]), tokens
    titles = find_titles(given["titles"], *place)
    files = find_pictures(given["pictures"], *place)
    with torch.no_grad():
        vectors = model.item_tokens()[:, 1:].float().cpu().numpy()  # [modalities, items, dim]
    none = len(model.centroids) - 1
    ids = model.interest_ids[1:].T.cpu().numpy()  # [modalities, items]
    ids = np.where(ids == none, -1, ids)
    say(f"{np.count_nonzero(ids >= 0):,} tokens: projection by {given['projection']}")
    plane = PROJECTIONS[given["projection"]](vectors[ids >= 0], seed)
    points = np.zeros((*ids.shape, 2))
    points[ids >= 0] = plane.points
    say(f"{none:,} interests: typical items and words")
    typical = typical_items(vectors, ids, model.centroids[:none].cpu().numpy(), TYPICAL)
    words = typical_words(titles, ids, none, WORDS)
    say(f"{len(rows)} users: attention")
    readings = read(model, test, rows)
    wanted = [item - 1 for reading in readings for item in (*reading.items, reading.target)]
    largest = np.argsort(-np.bincount(ids[ids >= 0], minlength=none), kind="stable")
    wanted += typical[largest].ravel().tolist()
    say(f"{min(len(files), PICTURES)} pictures at most")
    return MapContent(
        dataset=dataset,
        origin=origin,
        plane=plane.note,
        modalities=model.modalities,
        points=points,
        ids=ids,
        tokens=tokens,
        titles=titles,
        typical=typical,
        words=words,
        pictures=thumbnails(files, wanted, PICTURES),
        reading=model.reading,
        readings=readings,
    )
