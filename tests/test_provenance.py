import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.config.provenance import Entry, Origin, dotted, flatten, merge, to_tree

trees = st.recursive(
    st.integers() | st.lists(st.integers()),
    lambda below: st.dictionaries(st.text("abc", max_size=2), below, max_size=3),
)
tables = st.dictionaries(st.text("abc", max_size=2), trees, max_size=4)


def entries(tree, name):
    return [Entry(path, value, Origin("argument", name)) for path, value in flatten(tree) if path]


def merged(*trees):
    winners, _ = merge([entry for i, tree in enumerate(trees) for entry in entries(tree, str(i))])
    return to_tree(winners)


def deep_update(weak, strong):
    """What merging two tables means, said the slow way."""
    result = dict(weak)
    for key, value in strong.items():
        both = isinstance(value, dict) and isinstance(weak.get(key), dict)
        result[key] = deep_update(weak[key], value) if both else value
    return result


@given(tables)
def test_one_source_comes_back_as_it_was(tree):
    assert merged(tree) == tree


@given(tables, tables)
def test_two_sources_merge_deeply(strong, weak):
    assert merged(strong, weak) == deep_update(weak, strong)


@given(tables, tables, tables)
def test_three_sources_merge_in_any_grouping(first, second, third):
    assert merged(first, second, third) == merged(merged(first, second), third)


def test_losers_are_listed_strongest_first():
    _, origins = merge(
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
