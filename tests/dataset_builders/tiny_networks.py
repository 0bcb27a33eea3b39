"""Networks with random weights, saved as their libraries save them; models for encoders' tests."""

import json
from pathlib import Path
from string import ascii_lowercase, digits

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from dataset_builders.encoders.hub import transformers

WORDS = ["red", "green", "blue", "tea", "jam", "pot", "bag", "of", "the", "small", "large", "with"]
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


def save_bert(folder: Path, seed: int = 0) -> Path:
    """A BertModel of 32 dimensions with a WordPiece vocabulary that spells any word."""
    library = transformers()
    letters = ascii_lowercase + digits
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = special + WORDS + list(letters) + [f"##{letter}" for letter in letters]
    ids = {token: number for number, token in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=48,
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = library.BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    library.BertModel(config).save_pretrained(folder)
    return folder


def save_vit(folder: Path, pooler: bool = True) -> Path:
    """A ViTModel of 32 dimensions on pictures of 32 x 32 pixels."""
    library = transformers()
    torch.manual_seed(0)
    config = library.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.3,
    )
    library.ViTModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    library.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    """A CLIP of 16 dimensions as open_clip's ``local-dir:`` and its hub repositories have it."""
    transformers()  # before open_clip, which needs torchvision
    import open_clip

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    whole = {"model_cfg": CLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    network = open_clip.CLIP(**CLIP)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def save_convnext(folder: Path) -> Path:
    """A ConvNextModel of 16 dimensions, which has no CLS token."""
    library = transformers()
    torch.manual_seed(0)
    config = library.ConvNextConfig(
        num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], initializer_range=0.3
    )
    library.ConvNextModel(config).save_pretrained(folder)
    library.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)
    return folder
