"""What to ask instead, when the server or the model did not do as asked. Pure.

`repair` asks for an answer that fits. `grammar` sends nothing that the llama.cpp of today refuses, but
another version may refuse more. Such a request is asked once more `without_constraint`, the one that
the server's words are about.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from timestep.answer.history import Message, told_output, told_repair, with_instructions
from timestep.answer.rules import Repair
from timestep.errors import OllamaStatusError
from timestep.ollama.request.build import ChatRequest
from timestep.ollama.request.grammar import LIMITS, to_format
from timestep.ollama.request.merge import ALL_TYPES, join_path
from timestep.ollama.request.refs import Schema, convert_below
from timestep.ollama.request.tools import calls_format, calls_schema

_REFUSED = re.compile(
    r"JSON schema conversion failed|failed to parse grammar|initialize samplers", re.IGNORECASE
)
_UNRECOGNIZED = re.compile(r"Unrecognized schema: (\{.*\})")
_PATTERN = re.compile(r"\bpattern\b|parenthes|brackets", re.IGNORECASE)
_REFERENCE = re.compile(r"\bref\b")
_SHOWN = 5


def repair(request: ChatRequest, bad: Repair) -> ChatRequest:
    """Return the request that asks once more, after the answer to *request* was *bad*.

    The answer is in the history with what is wrong with it, the shape is enforced by ``format``,
    and no tool is offered that could get in its way. ``think`` stays as it was, because servers
    from 0.17 to 0.20 ignore ``format`` beside ``think: false``.
    """
    rules = request.rules
    if bad.wants_call:
        schema, enforced = calls_schema(request.tools), calls_format(request.tools)
    else:
        schema = {} if rules.output is None else rules.output.json_schema()
        enforced = to_format(schema)
    body = {key: value for key, value in request.body.items() if key != "tools"}
    messages: list[Message] = list(body["messages"])
    if bad.answer:
        messages.append({"role": "assistant", "content": bad.answer})
    messages.append({"role": "user", "content": told_repair(bad, rules.tools, schema)})
    body |= {"messages": messages, "format": enforced.schema}
    return replace(request, body=body, rules=rules.repaired(bad), left_out=())


def is_refused_format(error: OllamaStatusError) -> bool:
    """Return True when *error* says that the server could not make a grammar of the format."""
    return bool(_REFUSED.search(error.server_message))


def without_constraint(request: ChatRequest, error: OllamaStatusError) -> ChatRequest | None:
    """Return *request* without the constraint that *error* names; None when that was tried."""
    schema = request.body.get("format")
    if request.left_out or not isinstance(schema, Mapping):
        return None
    named: list[str] = []
    body = {**request.body, "format": _relaxed(schema, error.server_message, "", named)}
    if not named:
        return None
    if request.rules.output is not None and not request.rules.is_repair:
        # The grammar no longer says all of it, so words do.
        words = told_output(request.rules.output)
        body["messages"] = with_instructions(body["messages"], words)
    return replace(request, body=body, left_out=tuple(named))


def refused_format_error(request: ChatRequest, error: OllamaStatusError) -> OllamaStatusError:
    """Return *error* with the fields of the schema that it may be about."""
    named: list[str] = []
    _relaxed(request.body.get("format"), error.server_message, "", named)
    where = f"It is about {_listed(named)}. " if named else ""
    if request.left_out:
        where += f"Leaving out {_listed(request.left_out)} did not help. "
    return OllamaStatusError(
        f"{error.host} cannot make a grammar of the schema for the answer of {error.model!r}: "
        f"{error.server_message.rstrip('.')}. {where}Choose a simpler type, check the value in a "
        "validator, or update the server.",
        status_code=error.status_code,
        headers=error.headers,
        server_message=error.server_message,
        model=error.model,
        host=error.host,
    )


def _listed(fields: Sequence[str]) -> str:
    more = len(fields) - _SHOWN
    return ", ".join([*fields[:_SHOWN], *([f"{more} more"] if more > 0 else [])])


def _relaxed(schema: Any, words: str, path: str, left_out: list[str]) -> Any:
    """Return *schema* without the keywords that *words* are about, and list them in *left_out*.

    The caller may have written *schema*, so any part of it may be of a wrong type.
    """
    if not isinstance(schema, Mapping):
        return schema
    node = cast("Schema", schema)
    meant = [key for key in node if _is_meant(node, key, words)]
    left_out += [f"{path or 'the root'}: {key}" for key in meant]

    def relax(part: Any, step: str) -> Any:
        return _relaxed(part, words, join_path(path, step), left_out)

    kept = {
        key: convert_below(key, value, relax) for key, value in node.items() if key not in meant
    }
    # The server takes an empty schema for that of an object.
    return kept or {"type": list(ALL_TYPES)}


def _is_meant(node: Schema, key: str, words: str) -> bool:
    if found := _UNRECOGNIZED.search(words):
        return bool(node == _parsed(found[1]))
    if _PATTERN.search(words):
        return key == "pattern"
    if _REFERENCE.search(words):
        return key == "$ref"
    return key in LIMITS


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
