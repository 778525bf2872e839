"""Settings are read and never written: no table in them changes."""

import copy
import itertools
import json
import operator
import pickle

import pytest
from pydantic import BaseModel

from timestep.config.settings import Settings

FULL = {
    "ollama": {"options": {"stop": ["a"]}, "models": {"m": {"num_ctx": 1}}, "headers": {"X": "y"}},
    "providers": {
        "a": {"kind": "openai", "base_url": "https://a", "headers": {"X": "y"}},
        "b": {"kind": "ollama", "base_url": ["http://a", "http://b"]},
    },
    "aliases": {"x": ["y", "z"]},
    "default_model": ["x", "y"],
    "traces": {"redact": ["x+"]},
}


def containers(value):
    """Every dict and list in *value*, a section or what one holds."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, dict | list):
        yield value
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from containers(below)


CHANGES = [
    lambda table: table.clear(),
    lambda table: table.pop(),
    lambda table: table.update(a=1),
    lambda table: table.setdefault("a", 1),
    lambda table: table.popitem(),
    lambda table: table.append(1),
    lambda table: table.extend([1]),
    lambda table: table.insert(0, 1),
    lambda table: table.remove("y"),
    lambda table: table.reverse(),
    lambda table: table.sort(),
    lambda table: operator.setitem(table, 0, 1),
    lambda table: operator.delitem(table, 0),
    lambda table: operator.ior(table, {"a": 1}),
    lambda table: operator.iadd(table, [1]),
    lambda table: operator.imul(table, 2),
]


@pytest.mark.parametrize("tables", [FULL, {}], ids=["full", "defaults"])
def test_no_table_and_no_list_of_settings_changes(tables):
    settings = Settings(**tables)
    known = settings.model_dump()

    found = list(containers(settings))
    assert len(found) > 5
    for table, change in itertools.product(found, CHANGES):
        with pytest.raises((TypeError, AttributeError)):
            change(table)
    assert settings.model_dump() == known


@pytest.mark.parametrize(
    "copied",
    [
        lambda settings: pickle.loads(pickle.dumps(settings)),
        copy.copy,
        copy.deepcopy,
        lambda settings: settings.model_copy(deep=True),
        lambda settings: Settings(**{name: getattr(settings, name) for name in FULL}),
    ],
    ids=["pickle", "copy", "deepcopy", "model_copy", "arguments"],
)
def test_a_copy_is_the_same_and_changes_as_little(copied):
    settings = Settings(**FULL)
    again = copied(settings)

    assert again == settings
    assert again.model_dump_json() == settings.model_dump_json()
    for table in containers(again):
        with pytest.raises(TypeError, match="cannot be changed"):
            table.clear()


def test_settings_are_compared_and_written_like_plain_tables():
    settings = Settings(**FULL)

    assert settings.aliases == {"x": ["y", "z"]}
    assert repr(settings.ollama.options) == "{'stop': ['a']}"
    assert type(settings.model_dump()["aliases"]) is dict
    assert json.loads(json.dumps(settings.ollama.options)) == {"stop": ["a"]}
