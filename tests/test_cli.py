"""The command line: bad input ends with status 2 and one message, good input is what it says."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from errno import EEXIST
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recbole_missrec.cli import main
from recbole_missrec.data.features import feature_digest, write_features
from tests.shops import tiny_words, write_tiny_shop

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole writes its logs into the current folder


@pytest.fixture(scope="module")
def result(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The result file of a run of one epoch, and with it a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("trained"))
        assert main(tiny_words(shop, epochs=1, checkpoint_dir=folder, result_file="r.json")) == 0
        yield json.loads(Path("r.json").read_text())


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; gives its one message."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(words) == 2
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        assert line.startswith("recbole-missrec: ")
        return line.removeprefix("recbole-missrec: ")

    return run


# --- options: refused before any data is looked for ---------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epoch=3", "--epoch: MISSRec has no such option; did you mean 'epochs'?"),
        ("--item_id=True", "--item_id: MISSRec has no such option; did you mean 'item_ids'?"),
        ("--config_file=a", "--config_file: MISSRec has no such option; did you mean 'config_fi"),
        ("--MODEL_TYPE=1", "--MODEL_TYPE: MISSRec has no such option; "),
        ("--model=SASRec --item_ids=True", "--item_ids: SASRec has no such option; "),
        ("--interest_method=kmean", "--interest_method=kmean: not a value of it; did you mean 'km"),
        ("--item_mm_fusion=dynamic", "--item_mm_fusion=dynamic: not a value of it; did you mean '"),
        ("--learner=adamm", "--learner=adamm: not a value of it; did you mean 'adam'?"),
        ("--learner=None", "--learner=None: must be text"),
        ("--metrics=[Recal]", "--metrics: unknown 'Recal'; did you mean 'recall'?"),
        ("--metrics=3", "--metrics=3: must be a list of names, like [Recall, NDCG]"),
        ("--topk=[]", "--topk=[]: must be whole numbers from 1 to 1000000"),
        ("--topk=[0]", "--topk=[0]: must be whole numbers from 1 to 1000000"),
        (
            "--valid_metric=NDCG@7",
            "--valid_metric=NDCG@7: not computed with these metrics and topk",
        ),
        ("--metrics=[AUC]", "--valid_metric=NDCG@10: not computed with these metrics and topk"),
        ("--item_ids=maybe", "--item_ids=maybe: must be True or False"),
        ("--item_ids=1", "--item_ids=1: must be True or False"),
        ("--item_ids=", "--item_ids=: must be True or False"),
        ("--epochs=ten", "--epochs='ten': must be a number, like the default 300"),
        ("--epochs=1.5", "--epochs=1.5: must be a whole number"),
        ("--epochs=1e1", "--epochs=10.0: must be a whole number"),
        ("--epochs=True", "--epochs=True: must be a number"),
        ("--dropout=1.5", "--dropout=1.5: must lie between 0 and 0.99"),
        ("--interest_ratio=0", "--interest_ratio=0: must lie between 1e-09 and 1"),
        ("--knn_neighbours=0", "--knn_neighbours=0: must lie between 1 and 1e+06"),
        ("--knn_neighbours=2.5", "--knn_neighbours=2.5: must be a whole number"),
        ("--interest_warm_start=True", "--interest_warm_start=True: only for kmeans or auto, not"),
        ("--loss_decimal_place=-1", "--loss_decimal_place=-1: must lie between 0 and 100"),
        ("--learning_rate=.nan", "--learning_rate=nan: must lie between 0 and 10"),
        ("--result_file=1", "--result_file=1: must be text; write --result_file=\"'1'\""),
        ("--data_path=3", "--data_path=3: must be text; write --data_path=\"'3'\""),
        ("--clip_grad_norm=5", "--clip_grad_norm=5: must be a mapping"),
        ("--eval_args={spilt: 1}", "--eval_args: unknown 'spilt'; did you mean 'split'?"),
        ("--eval_args={mode: uni0}", "--eval_args: unknown mode 'uni0'; choose from 'full', "),
        ("--eval_args={mode: {train: full}}", "--eval_args: mode of 'train'; choose from 'test', "),
        ("--eval_args={order: OT}", "--eval_args: unknown order 'OT'; choose from 'RO', 'TO'"),
        (
            "--eval_args={group_by: foo}",
            "--eval_args: unknown group_by 'foo'; choose from ",
        ),
        ("--eval_args={split: {LT: 1}}", "--eval_args: unknown split 'LT'; choose from 'LS', "),
        ("--eval_args={split: LS}", "--eval_args: split LS: must be one mapping, like {LS: valid_"),
        (
            "--eval_args={split: {LS: test_only}}",
            "split {LS: test_only}: did you mean 'valid",
        ),
        (
            "--eval_args={split: {RS: [8, a, 1]}}",
            "split {RS: [8, 'a', 1]}: must be three",
        ),
        (
            "--eval_args={split: {RS: [1, 0, 0]}}",
            "split {RS: [1, 0, 0]}: must be three sha",
        ),
        ("--eval_args={mode: unix}", "--eval_args: unknown mode 'unix'; choose from 'full', "),
        ("--learner=sparse_adam", "--learner=sparse_adam: not a value of it; choose from"),
        (
            "--clip_grad_norm={max_nrm: 1}",
            "--clip_grad_norm: unknown 'max_nrm'; did you mean",
        ),
        (
            "--clip_grad_norm={max_norm: a}",
            "--clip_grad_norm: max_norm: a must be a number",
        ),
        ("--user_inter_num_interval=5", "--user_inter_num_interval=5: must be text"),
        (
            "--user_inter_num_interval=abc",
            "--user_inter_num_interval: 'abc' is no interval; ",
        ),
        ("--val_interval={rating: '[3'}", "--val_interval: rating: '[3' is no interval; write one"),
        ("--seq_len={words: a}", "--seq_len: words: a must be a whole number above 0"),
        ("--load_col={inter: 5}", "--load_col: inter: 5 must be a list of columns"),
        ("--checkpoint_dir=", "--checkpoint_dir=: is empty; the default is 'saved'"),
        ("--result_file=a --per_user=a", "--per_user=a: is the result_file; name another file"),
        ("--per_user=a --metrics=[AUC] --valid_metric=AUC", "--per_user: needs a ranking metric, "),
        ("--model=BERT4Rec --mask_ratio=5", "--mask_ratio=5: must lie between 0 and 1"),
        ("--model=ItemKNN --k=-3", "--k=-3: must lie between 1 and 1e+06"),
        ("--modalities=text", "--modalities=text: must be a list of names, like [text, image]"),
        ("--calibrate=True --missing=ridge", "--calibrate=True: with --missing=ridge no candidate"),
        ("--modalities=[lacking]", "--modalities=['lacking']: no modality may be called 'lacking'"),
        ("--modalities=[text, id]", "--modalities=['text', 'id']: no modality may be called 'id'"),
        (
            "--modalities=[text, mean]",
            "--modalities=['text', 'mean']: no modality may be called 'me",
        ),
        (
            "--worker=2",
            "--worker=2: this model's batches are laid out, and drawn from, in the trai",
        ),
        (
            "--interest_gradient=True --interest_moved=0.1",
            "--interest_moved=0.1: not with --interest_gradient=True, whose interests move w",
        ),
        (
            "--fresh_adapters=[text]",
            "--fresh_adapters: all adapters are fresh without --pretrained",
        ),
        (
            "--fresh_adapters=[text] --tune=none --pretrained=a.pth --item_ids=False",
            "--tune=none: fresh adapters would stay random; add --tune=adapters",
        ),
        ("--modalities=[text, text]", "--modalities=['text', 'text']: must be a list of names"),
        ("--n_heads=7", "--n_heads=7: must divide hidden_size 300"),
        ("--model=SASRec --hidden_size=63", "--n_heads=2: must divide hidden_size 63"),
        ("--structure=no_decoder --roles=interest_queries", "--roles=interest_queries: only with "),
        ("--save_dataset=True", "--save_dataset=True: RecBole's cache does not notice changed "),
        ("--train_neg_sample_args={distribution: x}", "--train_neg_sample_args: the loss is over"),
        (
            "--model=BPR --train_neg_sample_args={distribution: x}",
            "RecBole refuses the options: The distribut",
        ),
        ("--model=sasrec", "--model=sasrec: no such model; did you mean 'SASRec'?"),
        ("--model=MISRec", "--model=MISRec: no such model; did you mean 'MISSRec'?"),
        ("--model=", "--model=: no such model; the nearest of 98 is '"),
        (
            "--model=lightgbm",
            "--model=lightgbm: needs the package 'lightgbm'; install it with `pip i",
        ),
        ("word", "word: not an option; write --key=value"),
        ("-e=3", "-e=3: not an option; write --key=value"),
        ("--epochs", "--epochs: has no value; write --epochs=value"),
        ("--epochs --seed=1", "--epochs: has no value; write --epochs=value"),
        ("--seed=1 --seed=2", "--seed: given twice, as '1' and '2'"),
        ("--config_files=none.yaml", "--config_files: cannot read none.yaml: No such file or dir"),
        ("--config_files=it's.yaml", "--config_files=it's.yaml: No closing quotation; quote names"),
    ],
)
def test_option_that_is_refused(refused: Refused, words: str, message: str) -> None:
    separate = [f"--{word}" if word[0].isalpha() and "=" in word else word
                for word in words.replace(" --", "\n--").splitlines()]  # fmt: skip
    assert message in refused("--dataset=nowhere", *separate)


def test_an_index_without_faiss_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # how Python marks a module as absent
    message = refused("--dataset=nowhere", "--interest_method=dpc_knn_ivf")
    assert "--interest_method=dpc_knn_ivf: needs faiss; `pip install faiss-cpu`" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs: [1\n", "--config_files: a.yaml is not YAML: while parsing a flow sequence"),
        (b"\xff\xfe", "--config_files: a.yaml is not YAML: 'utf-8' codec can't decode"),
        (b"- epochs\n", "--config_files: a.yaml must hold `key: value` lines"),
        (b"epoch: 3\n", "--epoch: MISSRec has no such option; did you mean 'epochs'?"),
        (b"1: 3\n", "--1: MISSRec has no such option; the nearest of "),
        (b"item_ids: 'no'\n", "--item_ids=no: must be True or False"),
        (
            b"a: !!python/name:os.system\n",
            "--config_files: a.yaml is not YAML: could not determine",
        ),
    ],
)
def test_configuration_file_that_is_refused(refused: Refused, content: bytes, message: str) -> None:
    Path("a.yaml").write_bytes(content)
    assert message in refused("--dataset=nowhere", "--config_files=a.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--epochs=3"],
            "--dataset=NAME is missing; `python -m dataset_builders sample` makes one",
        ),
        (
            ["--dataset=Pantri"],
            "--dataset=Pantri: no such data set in dataset; did you mean 'Pantr",
        ),
        (
            ["--dataset=Pantry", "--data_path=shops", "--no-build"],
            "--dataset=Pantry: not in shops/Pantry; make it with `python -m dataset_builders "
            "amazon --set Pantry --out shops`",
        ),
        (["evaluat", "a.pth"], "evaluat: no such command; did you mean 'evaluate'?"),
        (["evaluate"], "evaluate: which checkpoint? evaluate saved/FILE.pth"),
        (["evaluate", "--seed=1"], "evaluate: which checkpoint? evaluate saved/FILE.pth"),
        (["evaluate", "a.pth"], "a.pth: cannot be read: No such file or directory"),
        (["--resume=a.resume"], "a.resume: cannot be read: No such file or directory"),
    ],
)
def test_command_that_is_refused(refused: Refused, words: list[str], message: str) -> None:
    assert message in refused(*words)


def test_only_the_builders_may_be_a_recipe(refused: Refused) -> None:
    message = refused("--dataset=absent", "--build=touch created")
    assert message == "--build=touch created: must begin with `python -m dataset_builders`"
    assert not Path("created").exists()


def test_known_shops_of_the_folder_are_suggested(refused: Refused, shop: Path) -> None:
    message = refused("--dataset=tinny", f"--data_path={shop}")
    assert message == f"--dataset=tinny: no such data set in {shop}; did you mean 'tiny'?"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["-h"]) == main(["evaluate", "--help"]) == 0
    assert main(["evaluate", "-h"]) == 0
    assert capsys.readouterr().out.count("--dataset=NAME") >= 8
    assert main([]) == 2


# --- files ---------------------------------------------------------------------------------------


def test_absent_modality_names_those_that_are_there(refused: Refused, shop: Path) -> None:
    path = shop / "tiny/tiny.imagee.safetensors"
    message = refused(*tiny_words(shop, modalities="[text, imagee]"))
    assert message == f"--modalities: {path} is missing; did you mean 'image'?"
    shutil.copytree(shop, "bare")
    for modality in ("text", "image"):
        Path(f"bare/tiny/tiny.{modality}.safetensors").unlink()
    assert "there are no features at all" in refused(*tiny_words(Path("bare")))


def rewrite(path: Path, **tensors: torch.Tensor) -> None:
    """Change tensors of a feature file, its digest with them."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in ("features", "tokens")} | tensors
    digest = feature_digest(tensors["tokens"], tensors["features"])
    save_file(tensors, path, metadata | {"digest": digest})


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def with_nan(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        features = file.get_tensor("features").clone()
    features[4, 2] = torch.nan  # the fifth row: i1 and i2 have no text
    rewrite(path, features=features)


def with_duplicate(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        tokens = bytes(file.get_tensor("tokens").tolist()).decode().replace("i3\n", "i0\n")
    rewrite(path, tokens=torch.tensor(list(tokens.encode()), dtype=torch.uint8))


def of_another_shop(path: Path) -> None:
    write_features(path, ["x1", "x2"], torch.ones(2, 3), "another")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "truncated, or not a safetensors file"),
        (with_nan, "NaN or infinite values for the item 'i6'"),
        (with_duplicate, "two rows for the item 'i0'"),
        (of_another_shop, "none of its 2 items is in the data set; it has 'x1', the data set 'i"),
    ],
)
def test_damaged_feature_file_is_named(
    refused: Refused, shop: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = Path(shutil.copytree(shop, "damaged"), "tiny/tiny.text.safetensors")
    damage(path)
    assert f"{path}: {message}" in refused(*tiny_words(Path("damaged")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "",
            "shop/odd/odd.inter: its first line names no column user_id; it must be like user_id:",
        ),
        (
            "user_id\titem_id\ttimestamp\n",
            "shop/odd/odd.inter: its first line names no column user_",
        ),
        (
            "user_id:token\titem_id:token\n",
            "shop/odd/odd.inter: its first line names no column time",
        ),
        (
            "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\tnoon\n",
            "shop/odd/odd.inter: line 2: timestamp is 'noon', not a number",
        ),
        (
            "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\nu1\ti1\t\n",
            "shop/odd/odd.inter: line 3: no timestamp",
        ),
        (
            "user_id:token\titem_id:token\ttimestamp:float\nu1\tNA\t1\n",
            "shop/odd/odd.inter: line 2: no item_id",
        ),
        (
            "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\nu1\ti1\n",
            "shop/odd/odd.inter: line 3 has 2 columns, not the 3 of the first line",
        ),
        (
            "user_id:token\titem_id:token\ttimestamp:float\tx:float\nu1\ti1\t1\t2\t3\n",
            "shop/odd/odd.inter: line 2 has 5 columns, not the 4 of the first line",
        ),
        (
            'user_id:token\titem_id:token\ttimestamp:float\nu1\t"i1\t1\nu1\ti2"\t2\n',
            "shop/odd/odd.inter: line 2: a quotation mark is not closed; leave it out",
        ),
        (
            "\ufeffuser_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\n",
            "shop/odd/odd.inter: begins with a byte order mark; save it as UTF-8 without one",
        ),
    ],
)
def test_interactions_that_cannot_be_read(refused: Refused, content: str, message: str) -> None:
    Path("shop/odd").mkdir(parents=True)
    Path("shop/odd/odd.inter").write_text(content)
    said = refused("--dataset=odd", "--data_path=shop", "--model=SASRec", "--state=error")
    assert said.startswith(message)


def write_inter(interactions: list[str]) -> None:
    """The shop `odd` of rows like ``u1 i1 5``."""
    Path("shop/odd").mkdir(parents=True)
    rows = ["user_id:token item_id:token timestamp:float", *interactions]
    text = "\n".join(row.replace(" ", "\t") for row in rows)
    Path("shop/odd/odd.inter").write_text(text + "\n")


@pytest.mark.parametrize(
    ("interactions", "model", "message"),
    [
        (["u1 i1 1", "u1 i2 2", "u2 i2 1", "u2 i1 2"], "SASRec", "the split leaves no valid"),
        (["u1 i1 1", "u2 i1 1"], "Pop", "the split leaves no validation rows; leave-one-out needs"),
        (["u1 i1 1", "u1 i1 2", "u1 i1 3", "u1 i1 4"], "Pop", "has 1 item; nothing to rank"),
    ],
)
def test_shop_that_is_too_small(
    refused: Refused, interactions: list[str], model: str, message: str
) -> None:
    write_inter(interactions)
    said = refused("--dataset=odd", "--data_path=shop", f"--model={model}", "--state=error")
    assert message in said


def test_a_target_that_a_user_has_twice_cannot_be_paired(refused: Refused) -> None:
    write_inter([f"u1 {item} {time}" for time, item in enumerate(("i1", "i2", "i3", "i1", "i1"))])
    words = ["--dataset=odd", "--data_path=shop", "--model=SASRec", "--state=error"]
    words += ["--eval_args={split: {RS: [1, 1, 2]}, order: TO}", "--per_user=ranks.parquet"]
    assert "--per_user=ranks.parquet: user 'u1' has the target 'i1' in two rows" in refused(*words)


@pytest.mark.parametrize("found", ["history", "mean"])
def test_a_modality_that_is_found_has_a_name_of_its_own(
    refused: Refused, shop: Path, found: str
) -> None:
    folder = Path(shutil.copytree(shop, "odd")) / "tiny"
    shutil.copy(folder / "tiny.text.safetensors", folder / f"tiny.{found}.safetensors")
    said = refused(*tiny_words(Path("odd"), modalities=None))
    assert f"no modality may be called '{found}'" in said


def test_a_rate_is_of_a_modality_that_is_found(refused: Refused, shop: Path) -> None:
    said = refused(*tiny_words(shop, modalities=None, modality_dropout="{txt: 0.3}"))
    assert "--modality_dropout={'txt': 0.3}: no modality 'txt'; did you mean 'text'?" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset=*", "--dataset=*: no such data set in "),
        (
            "--dataset=../tiny",
            "--dataset=../tiny: is the name of a folder, not a path; ",
        ),
        (
            "--load_col={inter: [user_id, item_id, prize]}",
            "tiny.inter has no column prize; ",
        ),
        (
            "--topk=[30] --valid_metric=MRR@30 --metrics=[MRR, ShannonEntropy]",
            "--topk=[30]: ",
        ),
        ("--transform=mask_itemseq", "RecBole refuses them: TypeError: "),
        ("--additional_feat_suffix=5", "RecBole refuses them: TypeError: "),
        ("--eval_args={mode: labeled}", "RecBole refuses them: "),
        ("--model=NeuMF --mlp_hidden_size=abc", "--model=NeuMF: RecBole refuses them: TypeError: "),
        ("--model=RaCT", "--train_stage=actor_pretrain: RecBole pre-trains RaCT by a "),
        (
            "--model=DGCF",
            "--model=DGCF: RecBole refuses them: ValueError: Sample ",
        ),
    ],
)
def test_what_only_the_data_shows(refused: Refused, shop: Path, words: str, message: str) -> None:
    given = dict.fromkeys(["dataset=tiny", "model=SASRec", f"data_path={shop}", "state=error"])
    given |= dict.fromkeys(["show_progress=False", "epochs=1"])
    options = {word.partition("=")[0]: word for word in given}
    options |= {word.partition("=")[0]: word for word in words.removeprefix("--").split(" --")}
    assert message in refused(*(f"--{word}" for word in options.values()))


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("log", "log/MISSRec/*: cannot be written: Not a directory"),
        ("log_tensorboard", "log_tensorboard/*: cannot be written: File exists"),
    ],
)
def test_file_where_recbole_makes_a_folder(
    refused: Refused, shop: Path, folder: str, message: str
) -> None:
    Path(folder).touch()
    assert refused(*tiny_words(shop)) == message


def test_runs_that_start_together(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # RecBole looks for a folder and then makes it: here another run is always between the two.
    def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        Path(name).mkdir(mode, parents=True, exist_ok=True)
        if not exist_ok:
            raise FileExistsError(EEXIST, name)

    monkeypatch.setattr("os.makedirs", makedirs)
    words = tiny_words(shop, epochs=1, checkpoint_dir="elsewhere", result_file="r.json")
    assert main(words) == 0
    assert Path("r.json").is_file()


def test_model_that_needs_other_data(refused: Refused, shop: Path) -> None:
    message = refused(*tiny_words(shop, "SASRecF"))
    said = "--dataset=tiny --model=SASRecF: RecBole refuses them: KeyError: 'class'"
    assert message == f"{said} (--state=debug shows where)"


@pytest.mark.parametrize("option", ["result_file", "per_user"])
def test_output_that_cannot_be_written_is_refused_before_training(
    refused: Refused, shop: Path, option: str
) -> None:
    Path("file").touch()
    message = refused(*tiny_words(shop, checkpoint_dir="saved"), f"--{option}=file/out")
    assert message == "file/out: cannot be written: File exists"
    message = refused(*tiny_words(shop, checkpoint_dir="saved"), f"--{option}={shop}")
    assert message == f"{shop}: cannot be written: Is a directory"
    assert list(Path("saved").iterdir()) == []
    message = refused(*tiny_words(shop, checkpoint_dir="file"))
    assert message == "file/*: cannot be written: File exists"


# --- checkpoints ---------------------------------------------------------------------------------


def flip_a_byte(content: bytes) -> bytes:
    """Change a weight, in the middle of the largest tensor, where nothing but a sum can tell."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        tensor = archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))
    at = content.index(tensor) + len(tensor) // 2
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        flip_a_byte,
        lambda content: b"no checkpoint\n",
    ],
    ids=["empty", "head", "truncated", "flipped", "text"],
)
def test_damaged_checkpoint(
    refused: Refused, result: dict[str, Any], damage: Callable[[bytes], bytes]
) -> None:
    Path("bad.pth").write_bytes(damage(Path(result["checkpoint"]).read_bytes()))
    said = "bad.pth: damaged, or not a checkpoint of recbole-missrec"
    assert refused("evaluate", "bad.pth") == said
    assert refused("--resume=bad.pth") == said


def test_checkpoint_of_something_else(refused: Refused) -> None:
    torch.save({"state_dict": {}}, "other.pth")
    assert "other.pth: not a checkpoint of recbole-missrec" in refused("evaluate", "other.pth")


@pytest.mark.parametrize("differs", [{"items": 26}, {"dims": (9, 5)}, {"seed": 1}])
def test_checkpoint_of_another_catalogue(
    refused: Refused, result: dict[str, Any], differs: dict[str, Any]
) -> None:
    other = write_tiny_shop(Path("other"), **differs)
    message = refused("evaluate", result["checkpoint"], f"--data_path={other}")
    assert message == f"{result['checkpoint']}: trained on other items, interactions or features"


def test_options_that_a_checkpoint_decides(refused: Refused, result: dict[str, Any]) -> None:
    checkpoint = result["checkpoint"]
    for word in ("--hidden_size=16", "--n_heads=4", "--id_weight=1", "--seed=1", "--epochs=7"):
        message = refused("evaluate", checkpoint, word)
        assert message == f"{word}: the checkpoint keeps its own; leave it out"
    message = refused("evaluate", checkpoint, "--eval_args={order: RO}")
    assert message.startswith("--eval_args={'split': ")
    for word in ("--model=SASRec", "--dataset=other", "--config_files=a.yaml"):
        message = refused("evaluate", checkpoint, word)
        assert message == f"{word}: a checkpoint has its own; leave it out"


def test_a_finished_run_is_not_resumed(refused: Refused, result: dict[str, Any]) -> None:
    path = result["checkpoint"]
    message = refused(f"--resume={path}")
    assert message == f"--resume={path}: this run is finished; see the command `evaluate`"


# --- what options mean ---------------------------------------------------------------------------


def test_words_files_and_props_reach_the_run(shop: Path) -> None:
    Path("a.yaml").write_text("{gamma: 0.1, dropout: 0.1, item_ids: True, id_weight: 1}")
    Path("b.yaml").write_text("{gamma: 0.2, dropout: 0.2}")
    words = tiny_words(shop, epochs=0, result_file="r.json", checkpoint_dir="saved")
    words += ["--config_files=a.yaml b.yaml", "--dropout", "0.3", "--item_ids=False"]
    assert main(words) == 0
    result = json.loads(Path("r.json").read_text())
    options = result["config"]
    assert options["temperature"] == 0.1  # props/model/MISSRec.yaml
    assert options["id_weight"] == 1
    assert options["gamma"] == 0.2
    assert options["dropout"] == 0.3
    assert options["item_ids"] is False
    with_ids = 25 * 8  # a row of hidden_size for each of 24 items and the padding
    assert main([*words[:-1], "--item_ids=True"]) == 0
    parameters = json.loads(Path("r.json").read_text())["parameters"]
    assert parameters["total"] - result["parameters"]["total"] == with_ids


@pytest.mark.parametrize("option", ["data_path", "result_file", "config_files", "learner"])
def test_text_is_never_evaluated(refused: Refused, option: str) -> None:
    refused(f"--{option}=__import__('os').system('touch-x')".replace("-x", " x"), "--dataset=tiny")
    assert list(Path().iterdir()) == []


def test_the_script_says_one_thing_and_nothing_else(shop: Path) -> None:
    script = Path(__file__).parents[1] / "run_recbole_missrec.py"
    path = Path(shutil.copytree(shop, "damaged"), "tiny/tiny.text.safetensors")
    truncate(path)
    words = [sys.executable, str(script), *tiny_words(Path("damaged"))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"recbole-missrec: {path}: truncated, or not a safetensors file (")
