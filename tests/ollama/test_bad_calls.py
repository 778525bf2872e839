"""A badly written call is the model's fault, in every wording of it."""

import json

import pytest

from tests.ollama.answers import ORIGIN
from tests.ollama.refusals import refusal
from timestep import errors
from timestep.errors.meaning import Meaning, meaning_of
from timestep.fallback.reasons import reason_of
from timestep.ollama.server_errors import line_error

BAD_CALLS = [
    "error parsing tool call: raw='{\"a\":', err=unexpected end of JSON input",
    "failed to parse JSON: invalid character 'x' looking for beginning of value",
    "XML syntax error on line 3: unexpected EOF",
    "failed to parse XML: XML syntax error on line 1: element <a> closed by </b>",
    "failed to parse XML: EOF",
    "expected element type <function> but have <parameter>",
    "mismatched arg_key and arg_value counts: 2 keys, 1 values",
    "invalid character '}' after object key:value pair",
    "invalid character ',' looking for beginning of value",
    "invalid character '\n' in string literal",
    "invalid character ']' after array element",
    "invalid character 'x' in literal true (expecting 'r')",
    "invalid character '{' after top-level value",
    "unexpected end of JSON input",
    "invalid tool call: missing name",
    "failed to parse function call: unexpected token",
    "failed to parse function call arguments",
    "tool 'delete_files' not found",
    'tool "delete files" not found',
    "failed to parse Laguna JSON tool call: invalid character 'a'",
    "malformed ATEM parameter",
    "malformed ATEM parameter: no name",
    "empty function name",
    'llama-server returned invalid tool call arguments for "f": EOF',
    "incomplete GLM tool call: x",
    "prediction aborted, token repeat limit reached",
    "an error was encountered while running the model: XML syntax error on line 2: x",
]


@pytest.mark.parametrize("words", BAD_CALLS)
def test_a_badly_written_call_is_the_model_s_fault(words):
    nested = json.dumps({"error": {"code": 500, "message": words}})

    for error in (
        refusal(500, {"error": words}),
        refusal(500, {"error": nested}),
        line_error({"error": words}, ORIGIN),
    ):
        assert type(error) is errors.ModelOutputError
        assert error.server_message == words
        assert meaning_of(error) == Meaning("model", passes=True)
        assert reason_of(error) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "unmarshal: invalid character 'I' looking for beginning of value",
            errors.OllamaStreamError,
        ),
        ("model runner has unexpectedly stopped", errors.OllamaStreamError),
        ("CUDA error: out of memory", errors.OllamaStreamError),
        ("the tool box is not found", errors.OllamaStreamError),
    ],
)
def test_what_is_not_a_call_is_the_server_s_fault(words, expected):
    assert type(line_error({"error": words}, ORIGIN)) is expected
    assert type(refusal(500, {"error": words})) is errors.OllamaStatusError


@pytest.mark.parametrize(
    "words", ["invalid character 'x' in string literal", "invalid tool call: x"]
)
def test_a_request_that_the_server_cannot_read_is_not_the_model_s_fault(words):
    assert type(refusal(400, {"error": words})) is errors.OllamaStatusError
