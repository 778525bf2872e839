"""Writes the next request when an answer does not fit. Pure."""

from dataclasses import replace

from timestep.answer.rules import Reading, Repair
from timestep.answer.told import Message, told_repair
from timestep.ollama.request.build import ChatRequest
from timestep.ollama.request.grammar import to_format
from timestep.ollama.request.tools import calls_format, calls_schema


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
    again = replace(
        rules,
        reading=Reading.HELD,
        must_call=bad.wants_call,
        is_emulated=False,
        repairs=rules.repairs - 1,
        is_repair=True,
    )
    return replace(request, body=body, rules=again, left_out=())
