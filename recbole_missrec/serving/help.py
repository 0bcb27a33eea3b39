"""What the commands of this package say for ``--help``."""

MOST = 10_000  # items of a list
RECOMMEND_HELP = f"""\
Recommend items by a trained model: MISSRec, UniSRec, VQRec or SASRecContent.

  python run_recbole_missrec.py recommend CHECKPOINT --history=A,B | --users=FILE [--key=value ...]

  --history=A,B       raw tokens of items, oldest first
  --users=FILE        whom to recommend to: JSON lines (.jsonl) or Parquet (.parquet) with columns
                      `user`, `history` (a list of raw tokens) or both; without a history, that of
                      the user in the data set. Any other file: users of the data set, one a line
  --out=FILE          Parquet (.parquet) or JSON lines; default: JSON lines on standard output
  --topk=10           items of a list, at most {MOST:,}
  --exclude-history   leave out the items of the history
  --candidates=FILE   recommend these alone: raw tokens, one a line
  --filter=COLUMN=VALUE
                      recommend items with this value in NAME.item of the data set alone
  --approximate       search likely items by indexes of faiss, for many users and a large
                      catalogue (`pip install faiss-cpu`); exact where candidates are given
  --unseen_bias=B     of MISSRec: added to the cosine of items that the training never read
  --data_path=DIR     folder of data sets, if it has moved since the training

A row has `user`, `items` and `scores`, best first, ranked as the evaluation ranks them; `unknown`,
the number of tokens that no item has, which are skipped; and `fallback`, `popularity` where nothing
is known of a history: then items are those with the most interactions, these being the scores.

Examples:
  python run_recbole_missrec.py recommend saved/MISSRec-pantry-sample-*.pth --history=p00273,p00090
"""
SIMILAR_HELP = """\
Items like one, by the mean cosine of the trained tokens and ids that both have, as JSON lines.

  python run_recbole_missrec.py similar CHECKPOINT --item=TOKEN [--topk=10] [--data_path=DIR]
"""
EXPLAIN_HELP = """\
Why an item has its score after a history, by a trained MISSRec, as JSON.

  python run_recbole_missrec.py explain CHECKPOINT --history=A,B --item=TOKEN [--unseen_bias=B]

`score` is the sum of the contributions of `parts`: of each modality and the id, its cosine with the
sequence embedding times its weight, over the temperature; and what is added for an item of the
history, for a modality that the item lacks (--calibrate), and for one that the training never
read. `history` and `interests` say where the model
looked: shares of attention, means over the heads of the layer that the sequence embedding comes
from; interests with their typical items.
"""
ADD_ITEMS_HELP = """\
Recommend items that a model was not trained with, at once: MISSRec, UniSRec or SASRecContent.

  python run_recbole_missrec.py add-items CHECKPOINT [--key=value ...]

  --features=FILE,FILE  feature files NAME.MODALITY.safetensors of the checkpoint's encoders
  --texts=FILE          raw item tokens and texts: the first two columns of a TSV or Parquet file
  --pictures=DIR        pictures named by raw item token, such as B0000223UV.jpg; texts and pictures
                        are encoded by the encoders that the checkpoint names
  --removed=A,B         offer these removed items again
  --data_path=DIR       folder of data sets, if it has moved since the training

They are written beside the checkpoint, FILE.items, which `recommend` and the others read; the
checkpoint and what was exported stay as they are. An added item has no id embedding: its features
score it, and `--unseen_bias` of the commands that recommend raises it.
"""
REMOVE_ITEMS_HELP = """\
Recommend items no more; in histories they are still read. `add-items --removed` takes them back.

  python run_recbole_missrec.py remove-items CHECKPOINT --items=A,B | --file=FILE

  --items=A,B         raw tokens
  --file=FILE         raw tokens, one a line
  --data_path=DIR     folder of data sets, if it has moved since the training
"""
EXPORT_HELP = """\
Write what other programs need to recommend, a card (.json) beside each; needs the extra `serve`.

  python run_recbole_missrec.py export CHECKPOINT --out=FOLDER [--key=value ...]

  items       safetensors and Parquet: tokens and vectors of the items
  sequences   safetensors and Parquet: embeddings of the users' histories
  indexes     NAME.faiss: inverted files over the items, to find candidates by
  user_side   ONNX: vectors of a history to its embedding, compared with torch

  --out=FOLDER        where they are written
  --users=FILE        whose histories, see `recommend --help`; default: all users of the data set
  --unseen_bias=B     of MISSRec: added to the cosine of items that the training never read
  --data_path=DIR     folder of data sets, if it has moved since the training
"""
DEMO_HELP = """\
A page on this machine to try trained models on, and JSON calls; needs the extra `serve`.

  python run_recbole_missrec.py demo CHECKPOINT [--key=value ...]

  --beside=CHECKPOINT  another model, shown beside the first
  --port=8000          0 takes any that is free
  --host=127.0.0.1     another address lets other machines in: there is no password
  --titles=FILE        raw item tokens and titles, --pictures=DIR: as in `map --help`
  --approximate        see `recommend --help`
  --unseen_bias=B      see `recommend --help`; both must be MISSRec then
  --data_path=DIR      folder of data sets, if it has moved since the training

A checkpoint, or its file of added items, that changes is loaded anew within some seconds; no
request is lost. The calls are described by /openapi.json.
"""
HELP = {
    "demo": DEMO_HELP,
    "export": EXPORT_HELP,
    "recommend": RECOMMEND_HELP,
    "similar": SIMILAR_HELP,
    "explain": EXPLAIN_HELP,
    "add-items": ADD_ITEMS_HELP,
    "remove-items": REMOVE_ITEMS_HELP,
}
