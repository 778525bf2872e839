import functools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.config.provenance import Entry, Origin, dotted, flatten, to_tree, trace_origins

trees = st.recursive(
    st.integers() | st.lists(st.integers()),
    lambda below: st.dictionaries(st.text("abc", max_size=2), below, max_size=3),
)
tables = st.dictionaries(st.text("abc", max_size=2), trees, max_size=4)


def entries(tree, name):
    return [Entry(path, value, Origin("argument", name)) for path, value in flatten(tree) if path]


def deep_update(weak, strong):
    """What the library's merge of two tables means, said the slow way."""
    result = dict(weak)
    for key, value in strong.items():
        both = isinstance(value, dict) and isinstance(weak.get(key), dict)
        result[key] = deep_update(weak[key], value) if both else value
    return result


@given(tables)
def test_a_tree_comes_back_from_its_entries(tree):
    assert to_tree(entries(tree, "")) == tree


@given(st.lists(tables, max_size=4))
def test_every_leaf_of_the_merged_tree_has_the_origin_that_gave_it(trees):
    merged = functools.reduce(lambda state, tree: deep_update(tree, state), trees, {})
    origins = trace_origins([e for n, tree in enumerate(trees) for e in entries(tree, str(n))])

    leaves = {dotted(path): (path, value) for path, value in flatten(merged) if path}
    assert origins.keys() == leaves.keys()
    for key, (path, value) in leaves.items():
        given = trees[int(origins[key].winner.location)]
        assert functools.reduce(operator.getitem, path, given) == value


def test_losers_are_listed_strongest_first():
    origins = trace_origins(
        [
            *entries({"a": {"b": 1}}, "first"),
            *entries({"a": {"b": 2}, "c": 3}, "second"),
            *entries({"a": {"b": {"d": 4}}}, "third"),
        ]
    )

    assert origins["a.b"].winner.location == "first"
    assert [str(loser) for loser in origins["a.b"].losers] == ["second", "third"]
    assert (origins["c"].winner.location, origins["c"].losers) == ("second", ())


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("a", "b_c-1"), "a.b_c-1"),
        (("ollama", "models", "llama3.2", "num_ctx"), 'ollama.models."llama3.2".num_ctx'),
        (("a", ""), 'a.""'),
        (("a", 0), "a.0"),
    ],
)
def test_keys_are_written_as_in_toml(path, key):
    assert dotted(path) == key


def test_an_entry_does_not_show_its_value():
    assert "s3cr3t" not in repr(Entry(("a",), "s3cr3t", Origin("argument", "argument")))
