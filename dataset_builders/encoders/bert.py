"""Any text encoder of Hugging Face transformers."""

from typing import Any

import torch
from torch import Tensor

from dataset_builders.encoders.hub import (
    LOADING_ERRORS,
    TRANSFORMERS_WEIGHTS,
    ModelFiles,
    cannot_load,
    find_model,
    transformers,
)
from dataset_builders.encoders.interface import Encoder, Loaded, Rows
from dataset_builders.encoders.neural import (
    PADDED_TOKENS,
    by_length,
    check_loaded,
    inference,
    to_rows,
)
from recbole_missrec.errors import UsageError, nearest


def encoder(
    model: str = "bert-base-uncased", pooling: str = "cls", autocast: bool = False
) -> Encoder:
    """A text encoder of transformers.

    Args:
        model: a folder, or a name of the Hugging Face hub.
        pooling: ``cls``, the last layer's first token, or ``mean``, over the last layer's tokens.
        autocast: compute in bfloat16.

    Raises:
        UsageError: no such model or pooling.
    """
    if pooling not in POOLING:
        raise UsageError(
            f"--text-pooling '{pooling}': no such pooling; {nearest(pooling, POOLING)}"
        )
    files = find_model(model, "--text-model", TRANSFORMERS_WEIGHTS)
    return from_files(f"bert {files.name}, {pooling}", files, pooling, autocast)


def from_files(
    name: str,
    files: ModelFiles,
    pooling: str,
    autocast: bool,
    longest: int | None = None,
    unit: bool = False,
) -> Encoder:
    """A text encoder out of files of transformers.

    Args:
        name: of the encoder.
        files: of the model.
        pooling: ``cls`` or ``mean``.
        autocast: compute in bfloat16.
        longest: most tokens of a text, what is beyond is cut off; as the model says if not given.
        unit: scale each row to length 1.
    """

    def load(device: torch.device) -> Loaded:
        tokenizer, model = _load(files, pooling)
        model.to(device)
        most = longest or min(
            tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512)
        )

        def encode(texts: list[str]) -> Rows:
            encoded = tokenizer(texts, truncation=True, max_length=most)
            lengths = [len(ids) for ids in encoded["input_ids"]]
            for batch in by_length(lengths, PADDED_TOKENS[device.type]):
                columns = {key: [values[row] for row in batch] for key, values in encoded.items()}
                padded = tokenizer.pad(columns, return_tensors="pt").to(device)
                with inference(device, autocast):
                    hidden = model(**padded).last_hidden_state  # [batch, tokens, dim]
                    rows = POOLING[pooling](hidden.float(), padded["attention_mask"])
                    if unit:
                        rows = torch.nn.functional.normalize(rows)
                yield batch, to_rows(rows)

        return Loaded(encode)

    identity = f"transformers text {files.digest} {pooling} {autocast} {longest} {unit}"
    return Encoder("text", name, identity, load)


def _load(files: ModelFiles, pooling: str) -> tuple[Any, Any]:
    library = transformers()
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
        model, info = library.AutoModel.from_pretrained(
            files.folder, trust_remote_code=False, output_loading_info=True
        )
        check_loaded(info, unused="pooler.")
        if model.main_input_name != "input_ids" or model.config.is_encoder_decoder:
            raise ValueError(f"{type(model).__name__} is no text encoder")
        if tokenizer.pad_token is None:
            raise ValueError("its tokenizer has no token for padding")
    except LOADING_ERRORS as error:
        raise cannot_load(files.given, error) from error
    tokenizer.padding_side = "right"
    return tokenizer, model.float().eval()


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(2).to(hidden.dtype)  # [batch, tokens, 1]
    return (hidden * weights).sum(1) / weights.sum(1)


POOLING = {"cls": _first, "mean": _mean}  # [batch, tokens, dim], [batch, tokens] -> [batch, dim]
