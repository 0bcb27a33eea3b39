"""MISSRec (Wang et al. 2023, arXiv 2308.11175) from its formulas: one sample, position, head and
item at a time, without dropout.

Parameters are named as the layers of `torch.nn` name theirs. Items are 0 ... N-1 and item 0 is
padding. Everything is computed in the parameters' dtype.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Options = dict[str, Any]

CHOICES = {
    "seq_mm_fusion": ("add", "contextual"),
    "item_mm_fusion": ("static", "dynamic_shared", "dynamic_instance", "dynamic_shrunk", "gate"),
    "roles": ("item_queries", "interest_queries"),
    "orthogonality": ("mean_cosine", "released"),
    "structure": ("encoder_decoder", "no_decoder", "no_interests"),
}


# Elementary operations


def affine(params: Tensors, name: str, x: Tensor) -> Tensor:
    """x W^T + b, with x [..., in]."""
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def layer_norm(params: Tensors, name: str, x: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return centred / (variance + eps).sqrt() * params[f"{name}.weight"] + params[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal distribution function of x."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def softmax(x: Tensor) -> Tensor:
    """Softmax of a vector."""
    powers = (x - x.max().detach()).exp()
    return powers / powers.sum()


def normalize(x: Tensor) -> Tensor:
    """x / max(|x|, 1e-12) of a vector."""
    return x / x.norm().clamp_min(1e-12)


# Transformer


def attention(params: Tensors, name: str, queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Multi-head attention of queries [q, dim] over keys [n, dim], which are the values too."""
    weights = params[f"{name}.in_proj_weight"].chunk(3)
    biases = params[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (
        x @ w.T + b for x, w, b in zip((queries, keys, keys), weights, biases, strict=True)
    )  # [q or n, dim]
    size = queries.shape[1] // heads
    rows = []
    for query in q:
        contexts = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            logits = torch.stack([query[part] @ key[part] / math.sqrt(size) for key in k])  # [n]
            contexts.append(softmax(logits) @ v[:, part])  # [size]
        rows.append(torch.cat(contexts))
    return affine(params, f"{name}.out_proj", torch.stack(rows))  # [q, dim]


def layer_names(params: Tensors, stack: str) -> list[str]:
    """The names of a stack's layers, first to last, as far as there are parameters."""
    count = 0
    while f"{stack}.layers.{count}.norm1.weight" in params:
        count += 1
    return [f"{stack}.layers.{index}" for index in range(count)]


def feed_forward(params: Tensors, layer: str, x: Tensor) -> Tensor:
    """linear2(gelu(linear1(x)))."""
    return affine(params, f"{layer}.linear2", gelu(affine(params, f"{layer}.linear1", x)))


def encode(params: Tensors, options: Options, x: Tensor) -> Tensor:
    """Post-norm encoder stack over the set of tokens x [n, dim], closed by a LayerNorm."""
    heads, eps = options["n_heads"], options["layer_norm_eps"]
    for layer in layer_names(params, "encoder"):
        attended = attention(params, f"{layer}.self_attn", x, x, heads)
        x = layer_norm(params, f"{layer}.norm1", x + attended, eps)
        x = layer_norm(params, f"{layer}.norm2", x + feed_forward(params, layer, x), eps)
    return layer_norm(params, "encoder.norm", x, eps)


def decode(params: Tensors, options: Options, x: Tensor, memory: Tensor) -> Tensor:
    """Post-norm decoder stack: queries x [q, dim], not causal, over memory [n, dim]."""
    heads, eps = options["n_heads"], options["layer_norm_eps"]
    for layer in layer_names(params, "decoder"):
        attended = attention(params, f"{layer}.self_attn", x, x, heads)
        x = layer_norm(params, f"{layer}.norm1", x + attended, eps)
        attended = attention(params, f"{layer}.multihead_attn", x, memory, heads)
        x = layer_norm(params, f"{layer}.norm2", x + attended, eps)
        x = layer_norm(params, f"{layer}.norm3", x + feed_forward(params, layer, x), eps)
    return layer_norm(params, "decoder.norm", x, eps)


# What a sequence is read from


def tokens_of_item(
    params: Tensors, options: Options, features: Tensors, present: Tensors, item: int
) -> list[Tensor]:
    """t_i^m = A_m(f_i^m) [dim] of the modalities m of `places_of`, or the learned token."""
    tokens = []
    for place in places_of(params, options, present, item):
        m = options["modalities"][place]
        if present[m][item]:
            feature = features[m][item].to(params["input_norm.weight"])
            tokens.append(affine(params, f"adapters.{m}", feature))
        else:
            tokens.append(params["missing_token"][place])
    return tokens


def places_of(params: Tensors, options: Options, present: Tensors, item: int) -> list[int]:
    """Places in the options of the modalities that an item has; where there is a learned token for
    a missing one, of all, unless the item has none."""
    there = [place for place, m in enumerate(options["modalities"]) if present[m][item]]
    if there and "missing_token" in params:
        return list(range(len(options["modalities"])))
    return there


def position_tokens(
    params: Tensors, options: Options, tokens: list[Tensor], item: int, position: int
) -> Tensor:
    """The item's tokens at a position of the sequence, [1 or modalities, dim], after LayerNorm."""
    base = params["position_embedding.weight"][position]
    if options["item_ids"]:
        base = base + params["item_embedding.weight"][item]
    if options["seq_mm_fusion"] == "add" or not tokens:
        tokens = [sum(tokens, torch.zeros_like(base))]
    x = torch.stack([base + token for token in tokens])
    return layer_norm(params, "input_norm", x, options["layer_norm_eps"])


def distinct_interests(
    options: Options, present: Tensors, interests: Tensors, centroids: Tensor, items: list[int]
) -> Tensor:
    """Centroids of the distinct interests of the items, [n, dim], or one zero vector for none."""
    ids = {int(interests[m][i]) for m in options["modalities"] for i in items if present[m][i]}
    return centroids[sorted(ids)] if ids else torch.zeros_like(centroids[:1])


def last_positions(
    options: Options, present: Tensors, interests: Tensors, items: list[int]
) -> list[int]:
    """Position of the last item of each distinct interest; 0 for none."""
    last = {
        int(interests[m][item]): position
        for position, item in enumerate(items)
        for m in options["modalities"]
        if present[m][item]
    }
    return [last[interest] for interest in sorted(last)] or [0]


def means_of_interests(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
) -> Tensor:
    """Mean of the tokens of each interest as they are now, [interests, dim]; zero without any."""
    members: list[list[Tensor]] = [[] for _ in centroids]
    for m in options["modalities"]:
        for item, interest in enumerate(interests[m].tolist()):
            if present[m][item]:
                feature = features[m][item].to(params["input_norm.weight"])
                members[interest].append(affine(params, f"adapters.{m}", feature))
    means = [
        torch.stack(tokens).mean(0) if tokens else torch.zeros_like(centroids[0])
        for tokens in members
    ]
    return torch.stack(means)


def read_sequence(
    params: Tensors, options: Options, positions: list[Tensor], interests: Tensor
) -> tuple[Tensor, Tensor]:
    """The sequence embedding u [dim], normalised, and the interest representations xi [n, dim].

    Args:
        params: Parameters by name.
        options: Options by name.
        positions: For each position its tokens, [tokens, dim].
        interests: Centroids of the distinct interests, [n, dim].
    """
    items = torch.cat(positions)  # [tokens of all positions, dim]
    if options["structure"] == "no_interests":
        outputs, xi = encode(params, options, items), interests[:0]
    elif options["structure"] == "no_decoder":
        both = encode(params, options, torch.cat([items, interests]))
        outputs, xi = both[: len(items)], both[len(items) :]
    elif options["roles"] == "item_queries":
        xi = encode(params, options, interests)
        outputs = decode(params, options, items, xi)
    else:
        xi = decode(params, options, interests, encode(params, options, items))
        return normalize(xi.mean(dim=0)), xi
    return normalize(outputs[-len(positions[-1]) :].mean(dim=0)), xi


# Scores and losses


def score_item(
    params: Tensors,
    options: Options,
    u: Tensor,
    tokens: list[Tensor],
    item: int,
    there: Sequence[int] = (0, 1),
    lacks: Sequence[int] = (),
) -> Tensor:
    """Score of a candidate, before the temperature, by dynamic fusion of its modalities.

    Args:
        params: Parameters by name.
        options: Options by name.
        u: Normalised sequence embedding, [dim].
        tokens: The item's tokens, one for each modality that it has, [dim] each.
        item: The item's number.
        there: Which modalities these are, by their place in the options.
        lacks: Which it lacks; not those that the sequence itself does without.
    """
    has_id = options["item_ids"] and bool(params["item_embedding.weight"][item].any())
    if tokens:
        cosines = torch.stack([u @ normalize(token) for token in tokens])  # [modalities present]
        if options["item_mm_fusion"] == "static":
            content = cosines.mean()
        elif options["item_mm_fusion"] == "gate":
            gates = zip(params["fusion.gate"], params["fusion.gate_bias"], strict=True)
            logits = [gate @ u + bias for gate, bias in gates]
            content = softmax(torch.stack([logits[m] for m in there])) @ cosines
        else:
            alpha = params["fusion.alpha"]
            alpha = alpha[item] if options["item_mm_fusion"] == "dynamic_instance" else alpha
            if options["item_mm_fusion"] == "dynamic_shrunk":
                count = options["counts"][item]
                alpha = alpha + count / (count + 10) * params["fusion.own"][item]
            content = softmax(alpha * cosines) @ cosines
    else:
        content = u.new_tensor(0.0 if has_id else -1.0)
    if options["calibrate"] and (tokens or has_id):
        content = content + sum(params["fusion.lacking"][m] for m in lacks)
    if not has_id:  # zero where the training never read it
        return content
    by_id = u @ normalize(params["item_embedding.weight"][item])
    return (by_id + options["id_weight"] * content) / (1 + options["id_weight"])


def bias_of_history(params: Tensors, options: Options, items: list[int], item: int) -> Tensor:
    """What is added to a candidate's score for its place in the history, before the temperature."""
    weight = params["input_norm.weight"].new_zeros(())
    if options["history_bias"] and item in items:
        weight = weight + params["history_bias.weight"][0]
    if options["history_bias"] and item == items[-1]:
        weight = weight + params["history_bias.weight"][1]
    return weight


def mean_cosine(xis: list[Tensor]) -> Tensor:
    """Mean over the sequences with n >= 2 of the mean squared cosine of two distinct interests."""
    means = []
    for xi in xis:
        n = len(xi)
        pairs = [(a, b) for a in range(n) for b in range(n) if a != b]
        if pairs:
            squares = [(normalize(xi[a]) @ normalize(xi[b])) ** 2 for a, b in pairs]
            means.append(torch.stack(squares).sum() / (n * (n - 1)))
    return torch.stack(means).mean() if means else xis[0].new_zeros(())


def released(xis: list[Tensor]) -> Tensor:
    """sum_b |(n_b / P) sum_l xi_{b,l}|^2 / dim, with P the largest n_b of the batch."""
    width = max(len(xi) for xi in xis)
    pooled = [len(xi) / width * xi.sum(dim=0) for xi in xis]  # [dim] each
    return torch.stack([p @ p for p in pooled]).sum() / xis[0].shape[1]


def embed(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
    item_seq: Tensor,
    lengths: Tensor,
    altered: Tensor | None = None,
    augmented: Tensors | None = None,
    kept: Tensors | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """For each sequence its embedding u [dim] and interest representations xi [n, dim].

    Where `altered`, bool [batch, length], items have their `augmented` features, by modality; those
    of modalities that have none stay. `kept`, by modality, bool [batch]: a sequence is read as
    though its items had no other modalities.
    """
    for name, allowed in CHOICES.items():
        if options[name] not in allowed:
            raise ValueError(f"{name}={options[name]!r} is not one of {allowed}")
    centroids = centroids.detach().to(params["input_norm.weight"])
    other = features | (augmented or {})
    if options["interest_gradient"]:
        centroids = means_of_interests(params, options, features, present, interests, centroids)
    us, xis = [], []
    everything = present
    for row, length in enumerate(lengths.tolist()):
        present = of_row(everything, kept, row)
        items = item_seq[row, :length].tolist()
        positions = []
        for position, item in enumerate(items):
            read = other if altered is not None and altered[row, position] else features
            tokens = tokens_of_item(params, options, read, present, item) if item else []
            positions.append(position_tokens(params, options, tokens, item, position))
        distinct = distinct_interests(options, present, interests, centroids, items)
        if options["interest_recency"]:
            last = last_positions(options, present, interests, items)
            distinct = distinct + params["position_embedding.weight"][last]
        u, xi = read_sequence(params, options, positions, distinct)
        us.append(u)
        xis.append(xi)
    return us, xis


def of_row(present: Tensors, kept: Tensors | None, row: int) -> Tensors:
    """What items have for a sequence that is read and scored by its kept modalities alone."""
    return present if kept is None else {m: present[m] & kept[m][row] for m in present}


def forward(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
    item_seq: Tensor,
    lengths: Tensor,
    kept: Tensors | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Logits [batch, N] and, for each sequence, the interest representations xi [n, dim]."""
    data = (params, options, features, present, interests, centroids)
    us, xis = embed(*data, item_seq, lengths, kept=kept)
    num_items = len(present[options["modalities"][0]])
    logits = []
    for row, (u, length) in enumerate(zip(us, lengths.tolist(), strict=True)):
        sequence, there = item_seq[row, :length].tolist(), of_row(present, kept, row)
        scores = []
        for i in range(1, num_items):
            tokens = tokens_of_item(params, options, features, there, i)
            places = places_of(params, options, there, i)
            lacks = [
                place
                for place, m in enumerate(options["modalities"])
                if not present[m][i] and (kept is None or kept[m][row])
            ]
            score = score_item(params, options, u, tokens, i, places, lacks)
            scores.append(score + bias_of_history(params, options, sequence, i))
        logits.append(torch.stack([u.new_tensor(-math.inf), *scores]) / options["temperature"])
    return torch.stack(logits), xis


def scores(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
    item_seq: Tensor,
    lengths: Tensor,
) -> Tensor:
    """Scores of all items for each sequence, divided by the temperature.

    Args:
        params: Parameters by name.
        options: `modalities`, `n_heads`, `layer_norm_eps`, `temperature`, `gamma`, `id_weight`,
            `item_ids`, `history_bias` and the keys of `CHOICES`.
        features: By modality, the frozen features, [N, d_m]; absent ones may be anything.
        present: By modality, whether an item has it, bool [N].
        interests: By modality, the interest of an item's token, long [N], -1 where absent.
        centroids: Interest embeddings, [K, dim], constant.
        item_seq: Items of each sequence, padded on the right, long [batch, length].
        lengths: Number of items of each sequence, at least 1, long [batch].

    Returns:
        Logits, [batch, N], -inf for the padding item.
    """
    return forward(params, options, features, present, interests, centroids, item_seq, lengths)[0]


def loss(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
    item_seq: Tensor,
    lengths: Tensor,
    targets: Tensor,
    kept: Tensors | None = None,
) -> Tensor:
    """Mean cross-entropy of the targets [batch] over items 1 ... N-1, plus gamma * R.

    The other arguments are those of `scores` and `embed`.
    """
    logits, xis = forward(
        params, options, features, present, interests, centroids, item_seq, lengths, kept
    )
    terms = [
        torch.logsumexp(row[1:], dim=0) - row[target]
        for row, target in zip(logits, targets.tolist(), strict=True)
    ]
    cross_entropy = torch.stack(terms).mean()
    if options["structure"] == "no_interests":
        return cross_entropy
    regulariser = mean_cosine if options["orthogonality"] == "mean_cosine" else released
    return cross_entropy + options["gamma"] * regulariser(xis)


def pretraining_loss(
    params: Tensors,
    options: Options,
    features: Tensors,
    present: Tensors,
    interests: Tensors,
    centroids: Tensor,
    item_seq: Tensor,
    lengths: Tensor,
    targets: Tensor,
    copy_seq: Tensor,
    copy_lengths: Tensor,
    altered: Tensor,
    augmented: Tensors,
) -> Tensor:
    """Sequence-item contrast + lambda * sequence-sequence contrast + gamma * (R + R of the copies).

    Copies are those of `item_seq`, [batch, length], `altered` where they have augmented features.
    The other arguments are those of `loss`.
    """
    data = (params, options, features, present, interests, centroids)
    logits, xis = forward(*data, item_seq, lengths)
    us, _ = embed(*data, item_seq, lengths)
    vs, copy_xis = embed(*data, copy_seq, copy_lengths, altered, augmented)
    rows = range(len(us))
    histories = [
        items[:length] for items, length in zip(item_seq.tolist(), lengths.tolist(), strict=True)
    ]
    next_items = targets.tolist()
    terms = []
    for b in rows:
        y = next_items[b]
        others = [i for i in next_items if i != y]
        if not options["history_negatives"]:
            others = [i for i in others if i not in histories[b]]
        items = torch.stack([logits[b, y], *(logits[b, i] for i in others)])
        cosines = [
            us[b] @ vs[c] / options["temperature"]
            for c in rows
            if c == b or histories[c] != histories[b]
        ]
        own = us[b] @ vs[b] / options["temperature"]
        terms.append(
            items.logsumexp(0)
            - logits[b, y]
            + options["sequence_contrast"] * (torch.stack(cosines).logsumexp(0) - own)
        )
    return torch.stack(terms).mean() + options["gamma"] * (mean_cosine(xis) + mean_cosine(copy_xis))
