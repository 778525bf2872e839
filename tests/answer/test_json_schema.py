"""A JSON schema as the type of an answer."""

import pytest
from agents import ModelBehaviorError

from timestep.answer.json_schema import JsonSchema


@pytest.mark.parametrize(
    ("schema", "answer", "reason"),
    [
        ({"properties": {"p": {"$ref": "#nope"}}}, '{"p": 1}', "cannot be compared"),
        ({"$ref": "#"}, "1", "cannot be compared"),
        # Nothing is fetched: a port that no server listens at would be another error.
        ({"$ref": "http://127.0.0.1:9/s"}, "1", "cannot be compared"),
        ({"type": "string"}, "1", r"does not match the schema at \$: 1"),
        ({}, "[" * 60_000, "is not JSON"),
    ],
)
def test_whatever_a_check_of_an_answer_meets_is_an_error_of_the_sdk(schema, answer, reason):
    with pytest.raises(ModelBehaviorError, match=reason):
        JsonSchema("s", schema).validate_json(answer)
