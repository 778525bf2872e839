import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.routing import chain, find_ring, split_prefix, targets

names = st.text()
prefixes = st.text(st.characters(exclude_characters="/"))


@given(prefixes, names)
def test_a_name_is_split_at_its_first_slash_and_the_rest_stays_verbatim(prefix, rest):
    assert split_prefix(f"{prefix}/{rest}") == (prefix, rest)


@given(prefixes)
def test_a_name_without_a_slash_has_no_prefix(name):
    assert split_prefix(name) == (None, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast", ["ollama/Qwen3:4B"]),
        ("Fast", ["Fast"]),
        ("quick", ["ollama/Qwen3:4B"]),
        ("both", ["ollama/Qwen3:4B", "gpt-4.1"]),
        ("ollama/shadow", ["gpt-4.1"]),
        ("ollama/fast", ["ollama/fast"]),
        ("gpt-4.1", ["gpt-4.1"]),
        ("", [""]),
        (None, ["ollama/Qwen3:4B"]),
    ],
)
def test_aliases_are_followed_to_a_model(name, expected):
    aliases = {
        "fast": "ollama/Qwen3:4B",
        "quick": "fast",
        "both": ("quick", "gpt-4.1"),
        "ollama/shadow": "gpt-4.1",
    }

    assert chain(name, aliases, "quick") == expected


def test_no_name_and_no_default_is_no_name():
    assert chain(None, {"a": "b"}) == []


def test_targets_are_a_list():
    assert targets("a") == ["a"]
    assert targets(("a", "b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("aliases", "rings"),
    [
        ({}, [[]]),
        ({"a": "b", "b": "c"}, [[]]),
        ({"a": "a"}, [["a", "a"]]),
        ({"a": "b", "b": "a"}, [["a", "b", "a"], ["b", "a", "b"]]),
        ({"a": ["x", "b"], "b": ["y", "a"]}, [["a", "b", "a"], ["b", "a", "b"]]),
        (
            {"a": "b", "b": "c", "c": "a", "d": "a"},
            [["a", "b", "c", "a"], ["b", "c", "a", "b"], ["c", "a", "b", "c"]],
        ),
    ],
)
def test_a_ring_is_named_in_the_order_it_is_followed(aliases, rings):
    assert find_ring(aliases) in rings


def test_a_long_chain_is_no_problem():
    aliases = {str(number): str(number + 1) for number in range(2000)}

    assert find_ring(aliases) == []
    assert chain("0", aliases) == ["2000"]


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcdxy"), min_size=1)))
def test_a_chain_has_every_model_an_alias_leads_to_once_and_begins_with_the_first(aliases):
    def leaves(name):
        if name not in aliases:
            return {name}
        return set().union(*map(leaves, aliases[name]))

    if find_ring(aliases):
        return
    for name in aliases:
        names = chain(name, aliases)
        assert set(names) == leaves(name)
        assert len(names) == len(set(names))
        first = name
        while first in aliases:
            first = aliases[first][0]
        assert names[0] == first
