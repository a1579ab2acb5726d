"""The one algorithm that makes a host's files (P7)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hostctl.assemble import Part, assemble

PARTS = st.lists(
    st.builds(
        Part, file=st.sampled_from(["a", "b"]), order=st.integers(0, 3), text=st.text(alphabet="xyz\n", max_size=3)
    ),
    max_size=4,
)


def test_by_order_then_by_owner() -> None:
    assert assemble(
        {
            "b": [{"file": "f", "order": 1, "text": "b1 "}, {"file": "f", "order": 0, "text": "b0 "}],
            "a": [{"file": "f", "order": 1, "text": "a1 "}, {"file": "g", "order": 9, "text": "g"}],
        }
    ) == {"f": "b0 a1 b1 ", "g": "g"}


def test_an_owners_equal_parts_keep_their_order() -> None:
    parts: list[Part] = [{"file": "f", "order": 1, "text": "2"}, {"file": "f", "order": 1, "text": "1"}]
    assert assemble({"a": parts}) == {"f": "21"}


@given(st.dictionaries(st.sampled_from("abcdef"), PARTS), st.randoms(use_true_random=False))
def test_the_order_in_which_owners_came_is_of_no_account(owners: dict[str, list[Part]], chance: random.Random) -> None:
    shuffled = list(owners)
    chance.shuffle(shuffled)
    files = assemble({owner: owners[owner] for owner in shuffled})
    assert files == assemble(owners)
    assert sorted("".join(files.values())) == sorted(
        "".join(part["text"] for parts in owners.values() for part in parts)
    )
