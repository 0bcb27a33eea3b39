"""A batch as the model reads it, on three histories packed by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_missrec.model.layout import Layout
from recbole_missrec.model.packing import Packed, PackedInteraction, Packer

NONE = 7
# items 5 and 7 are in no history; item 2 has no interest, 4 none of the first modality
INTERESTS = torch.tensor(
    [[7, 7], [3, 0], [7, 7], [0, 3], [7, 1], [2, 5], [6, 7], [5, 5], [4, 4]],
)
ONE = torch.ones(9, 1, dtype=torch.bool)
TWO = INTERESTS < NONE
TWO[:, 0] |= ~TWO.any(1)  # an item without any modality keeps its first token
STRUCTURES = ["item_queries", "interest_queries", "no_decoder", "no_interests"]

# interests 0 1 3, then 4 6, then none
HISTORIES = torch.tensor(
    [
        [1, 3, 1, 4, 3, 0],
        [8, 2, 6, 8, 8, 2],
        [2, 0, 0, 0, 0, 0],
    ]
)
LENGTHS = torch.tensor([5, 6, 1])


def packer(structure: str = "item_queries", layers: int = 1, slots: Tensor = ONE) -> Packer:
    return Packer(INTERESTS, NONE, slots, structure, layers, "items", "length")


def pack(structure: str = "item_queries", layers: int = 1, slots: Tensor = ONE) -> Packed:
    return packer(structure, layers, slots).pack(HISTORIES, LENGTHS)


def batch() -> Interaction:
    return Interaction({"items": HISTORIES, "length": LENGTHS, "user": torch.tensor([4, 5, 6])})


def tensors(value: Any) -> list[Tensor]:
    """All tensors of nested tuples."""
    if isinstance(value, Tensor):
        return [value]
    return [t for part in value for t in tensors(part)] if isinstance(value, tuple) else []


def others(value: Any) -> Any:
    """Nested tuples without their tensors."""
    if isinstance(value, Tensor):
        return None
    return [others(part) for part in value] if isinstance(value, tuple) else value


# --- by hand --------------------------------------------------------------------------------


def test_items_and_positions_of_the_places() -> None:
    packed = pack()
    assert packed.items.tolist() == [0, 1, 2, 3, 4, 6, 8]
    assert packed.history.order.tolist() == [2, 0, 1]
    assert [tuple(group) for group in packed.history.groups] == [(1, 1, True), (2, 6, False)]
    assert packed.history.pad.nonzero().flatten().tolist() == [6]
    assert packed.items[packed.item].tolist() == [2, *[1, 3, 1, 4, 3, 0], *[8, 2, 6, 8, 8, 2]]
    assert packed.item.tolist() == [2, *[1, 3, 1, 4, 3, 0], *[6, 2, 5, 6, 6, 2]]
    assert packed.position.tolist() == [0, *range(6), *range(6)]
    assert packed.last.tolist() == [0, 5, 12]


def test_distinct_interests_of_the_rows() -> None:
    packed = pack()
    assert packed.interests.order.tolist() == [2, 1, 0]
    groups = [tuple(group) for group in packed.interests.groups]
    assert groups == [(1, 1, True), (1, 2, True), (1, 3, True)]
    assert packed.distinct.tolist() == [0, 1, 3, 4, 6, 7]
    assert packed.interest.tolist() == [5, 3, 4, 0, 1, 2]
    assert packed.distinct[packed.interest].tolist() == [7, 4, 6, 0, 1, 3]
    assert not packed.interests.pad.any()  # the slot of none is real


def test_last_position_of_each_interest() -> None:
    # in the order of the interests, by hand: none; 4 and 6; 0, 1 and 3
    packed = Packer(INTERESTS, NONE, ONE, "item_queries", 1, "items", "length", recency=True).pack(
        HISTORIES, LENGTHS
    )
    assert packed.distinct[packed.interest].tolist() == [7, 4, 6, 0, 1, 3]
    assert packed.recent is not None
    assert packed.recent.tolist() == [0, 4, 2, 4, 3, 4]
    assert pack().recent is None


def test_padded_interests_are_none() -> None:
    # five and six interests share a group: the one padded slot reads none
    ids = torch.tensor([[9, 9], [0, 1], [2, 3], [4, 9], [5, 9]])
    sequences = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 0]])
    packed = Packer(ids, 9, torch.ones(5, 1, dtype=torch.bool), "item_queries", 1, "i", "n").pack(
        sequences, torch.tensor([4, 3])
    )
    assert [tuple(group) for group in packed.interests.groups] == [(2, 6, False)]
    assert packed.interests.pad.nonzero().flatten().tolist() == [5]
    assert packed.distinct.tolist() == [0, 1, 2, 3, 4, 5, 9]
    assert packed.interest.tolist() == [0, 1, 2, 3, 4, 6, 0, 1, 2, 3, 4, 5]


def test_several_tokens_to_a_place() -> None:
    packed = pack(slots=TWO)
    assert packed.item.tolist() == pack().item.tolist()
    assert packed.position.tolist() == pack().position.tolist()
    assert [tuple(group) for group in packed.history.groups] == [(1, 2, False), (2, 12, False)]
    f, t = False, True
    assert packed.history.pad.tolist() == [
        *[f, t],  # item 2
        *[f, f, f, f, f, f, t, f, f, f, t, t],  # 1, 3, 1, 4, 3, padding
        *[f, f, f, t, f, t, f, f, f, f, f, t],  # 8, 2, 6, 8, 8, 2
    ]
    assert packed.last.tolist() == [0, 1, 10, 11, 24, 25]
    assert packed.distinct[packed.interest].tolist() == [7, 4, 6, 0, 1, 3]


def test_item_queries_read_the_last_item_in_the_order_of_histories() -> None:
    packed = pack("item_queries")
    assert packed.read is not None
    assert packed.read.slots.tolist() == [0, 5, 12]
    assert packed.read.there.tolist() == [0, 2, 1]
    assert packed.restore.tolist() == [1, 2, 0]
    assert (packed.everyone, packed.both) == (None, None)


def test_several_decoder_layers_let_every_item_ask_before() -> None:
    packed = pack("item_queries", layers=2)
    assert packed.everyone is not None and packed.read is not None
    assert packed.everyone.slots.tolist() == list(range(13))
    assert packed.read.slots.tolist() == [0, 5, 12]
    assert packed.both is None


@pytest.mark.parametrize("layers", [1, 2])
def test_interest_queries_read_every_interest_in_their_own_order(layers: int) -> None:
    packed = pack("interest_queries", layers)
    assert packed.read is not None and packed.everyone is not None
    assert packed.read.slots.tolist() == packed.everyone.slots.tolist() == list(range(6))
    assert packed.read.widths == (1, 2, 3)
    assert packed.read.memory_widths == (1, 3)
    assert packed.restore.tolist() == [2, 1, 0]
    assert packed.both is None


@pytest.mark.parametrize("layers", [1, 2])
def test_no_decoder_joins_items_and_interests(layers: int) -> None:
    packed = pack("no_decoder", layers)
    assert packed.both is not None
    layout, there, _ = packed.both  # rows of 8, 8 and 2: 2, 0, 1
    assert layout.order.tolist() == [2, 0, 1]
    assert [tuple(group) for group in layout.groups] == [(1, 2, True), (2, 8, True)]
    items, interests = packed.items[packed.item], packed.distinct[packed.interest]
    content = torch.cat([items, 10 + interests])[there].tolist()
    assert content == [2, 17, *[1, 3, 1, 4, 3, 10, 11, 13], *[8, 2, 6, 8, 8, 2, 14, 16]]
    assert packed.restore.tolist() == [1, 2, 0]
    assert (packed.read, packed.everyone) == (None, None)


@pytest.mark.parametrize("layers", [1, 2])
def test_no_interests_asks_nothing(layers: int) -> None:
    packed = pack("no_interests", layers)
    assert (packed.read, packed.everyone, packed.both) == (None, None, None)
    assert packed.restore.tolist() == [1, 2, 0]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_stands_behind_a_history_is_not_read(structure: str) -> None:
    behind = HISTORIES.clone()
    behind[0, 5], behind[2, 1:] = 6, 5
    other = packer(structure, 2, TWO).pack(behind, LENGTHS)
    for found, expected in zip(tensors(other), tensors(pack(structure, 2, TWO)), strict=True):
        assert torch.equal(found, expected)


# --- interactions ---------------------------------------------------------------------------


def test_a_packed_batch_keeps_its_fields() -> None:
    packed = packer()(None, batch())
    assert set(packed.interaction) == {"items", "length", "user"}
    assert torch.equal(packed["items"], HISTORIES)
    assert len(packed) == 3
    assert packed.packed.items.tolist() == [0, 1, 2, 3, 4, 6, 8]


@pytest.mark.parametrize(
    ("structure", "count"),  # seven of Packed itself and five of either layout
    [("item_queries", 23), ("interest_queries", 23), ("no_decoder", 24), ("no_interests", 17)],
)
def test_all_tensors_move_to_a_device_at_once(structure: str, count: int) -> None:
    here = packer(structure, 2, TWO)(None, batch())
    away = here.to(torch.device("meta"))
    assert isinstance(away, PackedInteraction)
    assert list(away.interaction) == ["items", "length", "user"]
    assert {value.device.type for value in away.interaction.values()} == {"meta"}
    before, after = tensors(here.packed), tensors(away.packed)
    assert len(before) == len(after) == count
    for old, new in zip(before, after, strict=True):
        assert (old.device.type, new.device.type) == ("cpu", "meta")
        assert (old.dtype, old.shape) == (new.dtype, new.shape)
    assert others(here.packed) == others(away.packed)
    assert isinstance(away.packed, Packed) and isinstance(away.packed.history, Layout)


def test_moving_to_the_same_device_keeps_values() -> None:
    here = packer("no_decoder", 2, TWO)(None, batch())
    again = here.to("cpu")
    for old, new in zip(tensors(here.packed), tensors(again.packed), strict=True):
        assert torch.equal(old, new)
    assert torch.equal(again["user"], here["user"])


# --- any batch ------------------------------------------------------------------------------


def row_contents(packed: Packed, times: int) -> list[dict[str, list[int]]]:
    """Items, places, present tokens, last slots, interests of each row of the batch."""
    items, ids = packed.items[packed.item], packed.distinct[packed.interest]
    contents: list[dict[str, list[int]]] = [{} for _ in packed.restore]
    last = packed.last.view(-1, times)
    for laid, row in enumerate(packed.history.order.tolist()):
        slots = (packed.history.row == laid) & ~packed.history.pad
        places = slots.view(-1, times).any(1)
        contents[row] = {
            "items": items[places].tolist(),
            "positions": packed.position[places].tolist(),
            "tokens": packed.history.position[slots].tolist(),
            "last": packed.history.position[last[laid]].tolist(),
        }
    for laid, row in enumerate(packed.interests.order.tolist()):
        slots = (packed.interests.row == laid) & ~packed.interests.pad
        contents[row]["interests"] = ids[slots].tolist()
    return contents


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    histories = draw(
        st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=12), min_size=1, max_size=7)
    )
    lengths = [len(history) for history in histories]
    width = max(lengths) + draw(st.integers(0, 2))
    rows = [history + [0] * (width - len(history)) for history in histories]
    return torch.tensor(rows), torch.tensor(lengths)


@settings(deadline=None)
@given(rows=batches(), two=st.booleans())
def test_rows_hold_their_items_and_ascending_interests(
    rows: tuple[Tensor, Tensor], two: bool
) -> None:
    sequences, lengths = rows
    slots, times = (TWO, 2) if two else (ONE, 1)
    packed = packer(slots=slots).pack(sequences, lengths)
    contents = row_contents(packed, times)
    for row, length, content in zip(sequences.tolist(), lengths.tolist(), contents, strict=True):
        history = row[:length]
        found = {i for item in history for i in INTERESTS[item].tolist() if i != NONE}
        assert content["items"] == history
        assert content["positions"] == list(range(length))
        assert content["interests"] == (sorted(found) or [NONE])
        tokens = slots[history].flatten().tolist()
        assert content["tokens"] == [place for place, kept in enumerate(tokens) if kept]
        assert content["last"] == list(range((length - 1) * times, length * times))
    assert packed.items.tolist() == sorted(set(packed.items.tolist()))
    assert packed.distinct.tolist() == sorted(set(packed.distinct.tolist()))


@settings(deadline=None)
@given(rows=batches(), structure=st.sampled_from(STRUCTURES), data=st.data())
def test_permuted_rows_keep_their_content(
    rows: tuple[Tensor, Tensor], structure: str, data: st.DataObject
) -> None:
    sequences, lengths = rows
    order = torch.tensor(data.draw(st.permutations(range(len(lengths)))))
    pack = packer(structure, 2, TWO).pack
    packed, permuted = pack(sequences, lengths), pack(sequences[order], lengths[order])
    before, after = row_contents(packed, 2), row_contents(permuted, 2)
    assert after == [before[row] for row in order.tolist()]
    for each in (packed, permuted):
        read = each.interests if structure == "interest_queries" else each.history
        assert read.order[each.restore].tolist() == list(range(len(order)))
