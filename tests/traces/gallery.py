"""Runs for the pictures in the docs: made by hand, so that times and tokens are the same each time."""

import json
import time

from timestep.traces.records import (
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)

MODEL = "ollama/qwen3:8b"
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Today's weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PACKING = """\
Pack for two climates. Only **Oslo** is certain:

| city | weather   | temperature |
|------|-----------|------------:|
| Oslo | snow      |       -3 °C |
| Rome | no answer |           ? |

1. A warm coat and a hat for Oslo.
2. Layers for Rome: *its weather could not be looked up*.

The list as code, should you want to check it off:

```python
packed = {"coat": False, "hat": False, "sunglasses": True}
missing = [item for item, done in packed.items() if not done]
```
"""


class Story:
    """One run, told span by span; times are seconds from its beginning."""

    def __init__(self, name, *, ago, group=None, metadata=None):
        self.began = time.time() - ago
        self.id = f"trace_{name}"
        self.events = [TraceStarted(self.id, "Agent workflow", group, metadata, self.began)]
        self.count = 0

    def span(self, kind, name, begin, end, *, inside=None, data=None, **fields):
        """Add a span; its id."""
        self.count += 1
        span = f"span_{self.id}_{self.count}"
        self.events.append(SpanStarted(span, self.id, inside, kind, name, self.began + begin))
        if end is not None:
            fields.setdefault("error", None)
            ended = SpanEnded(
                span_id=span,
                trace_id=self.id,
                kind=kind,
                name=name,
                ended_at=self.began + end,
                data=json.dumps({"type": kind, **(data or {})}),
                total_seconds=end - begin,
                **fields,
            )
            self.events.append(ended)
        return span

    def agent(self, name, begin, end, *, inside, tools=()):
        data = {"name": name, "tools": list(tools), "handoffs": []}
        return self.span("agent", name, begin, end, inside=inside, data=data)

    def model(self, begin, end, *, inside, given, answer, tools=(), tokens=(420, 64), **fields):
        """Add a model call with its bytes."""
        request = {
            "model": "qwen3:8b",
            "messages": given,
            "tools": list(tools),
            "options": {"num_ctx": 8192, "temperature": 0.2},
            "stream": True,
        }
        lines = [
            {"model": "qwen3:8b", "message": answer, "done": False},
            {"done": True, "done_reason": "stop", "eval_count": tokens[1]},
        ]
        body = "\n".join(json.dumps(line) for line in lines)
        exchange = Exchange(
            "http://localhost:11434/api/chat", 200, json.dumps(request).encode(), body.encode()
        )
        asked = next((m["content"] for m in reversed(given) if m["role"] == "user"), None)
        fields = {"answer": answer.get("content") or None, "question": asked, **fields}
        return self.span(
            "generation",
            MODEL,
            begin,
            end,
            inside=inside,
            data={"output": [answer], "model_config": {"model_impl": "timestep.ollama"}},
            text=f"{asked} {answer.get('content', '')}",
            model=MODEL,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            first_token_seconds=(end - begin) * 0.3,
            output_seconds=(end - begin) * 0.7,
            context_length=8192,
            exchanges=(exchange,),
            **fields,
        )

    def tool(self, name, arguments, begin, end, *, inside, output, error=None):
        data = {"input": json.dumps(arguments), "output": output}
        return self.span("function", name, begin, end, inside=inside, data=data, error=error)

    def tell(self, store, *, length=None):
        """Write the run; *length* is None while it goes on."""
        if length is not None:
            self.events.append(TraceEnded(self.id, self.began + length))
        store.write(self.events)
        return self.id


def said(role, content="", **more):
    return {"role": role, "content": content, **more}


def called(name, call_id, **arguments):
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


def packing(store):
    """A handoff, tools side by side, one of which fails, and an answer in Markdown."""
    story = Story("packing0001", ago=140, group="trip-to-rome")
    task = story.span("task", "Agent workflow", 0, 9.4)
    desk = story.agent("Desk", 0, 1.5, inside=task)
    question = "I fly to Oslo tonight and on to Rome on Friday. What should I pack?"
    asked = [said("user", question)]
    move = called("transfer_to_advisor", "call_1")
    story.model(0.1, 1.4, inside=desk, given=asked, answer=said("assistant", tool_calls=[move]))
    story.span(
        "handoff",
        "Advisor",
        1.4,
        1.45,
        inside=desk,
        data={"from_agent": "Desk", "to_agent": "Advisor"},
    )
    advisor = story.agent("Advisor", 1.5, 9.4, inside=task, tools=["get_weather"])
    asked = [
        said("user", question),
        said("assistant", tool_calls=[move]),
        said("tool", '{"assistant": "Advisor"}', tool_call_id="call_1"),
    ]
    both = said(
        "assistant",
        thinking="Two cities, two climates. I can look both up at once.\nThen I compare them.",
        tool_calls=[
            called("get_weather", "call_2", city="Oslo"),
            called("get_weather", "call_3", city="Rome"),
        ],
    )
    story.model(
        1.6, 3.6, inside=advisor, given=asked, answer=both, tools=[WEATHER_TOOL], tokens=(612, 58)
    )
    story.tool("get_weather", {"city": "Oslo"}, 3.65, 4.3, inside=advisor, output="-3 °C, snow")
    wrong = "An error occurred while running the tool. Please try again."
    story.tool(
        "get_weather", {"city": "Rome"}, 3.66, 5.1, inside=advisor, output=wrong, error=RAISED
    )
    asked += [
        both,
        said("tool", "-3 °C, snow", tool_call_id="call_2"),
        said("tool", wrong, tool_call_id="call_3"),
    ]
    answer = said("assistant", PACKING)
    story.model(
        5.2,
        9.3,
        inside=advisor,
        given=asked,
        answer=answer,
        tools=[WEATHER_TOOL],
        tokens=(745, 168),
    )
    return story.tell(store, length=9.4)


RAISED = json.dumps(
    {
        "message": "Error running tool (non-fatal)",
        "data": {
            "tool_name": "get_weather",
            "error": "TimeoutError: api.met.no did not answer in 1.4 s",
            "place": "weather.py:41",
            "traceback": 'Traceback (most recent call last):\n  File "weather.py", line 41, in get_weather\n',
        },
    }
)


def simple(store, name, question, answer, *, ago, group=None, length=2.4, **fields):
    """One agent, one answer."""
    story = Story(name, ago=ago, group=group)
    task = story.span("task", "Agent workflow", 0, length)
    agent = story.agent("Advisor", 0, length, inside=task)
    story.model(
        0.1,
        length,
        inside=agent,
        given=[said("user", question)],
        answer=said("assistant", answer),
        **fields,
    )
    return story.tell(store, length=length)


def parallel(store):
    """Two runs of agents at the same time, in one trace."""
    story = Story("parallel001", ago=5400)
    for name, begin, question, answer in (
        (
            "Optimist",
            0,
            "Should we move to the new database?",
            "Yes: it is faster, and the team knows it.",
        ),
        (
            "Sceptic",
            0.2,
            "Should we move to the new database?",
            "Not yet: the restore was never tried.",
        ),
    ):
        task = story.span("task", "Agent workflow", begin, begin + 3.1)
        agent = story.agent(name, begin, begin + 3.1, inside=task)
        story.model(
            begin + 0.1,
            begin + 3,
            inside=agent,
            given=[said("system", f"You are the {name.lower()}."), said("user", question)],
            answer=said("assistant", answer),
        )
    return story.tell(store, length=3.4)


def fill(store):
    """Write the gallery; the ids of its runs by name."""
    simple(
        store,
        "haiku000001",
        "Write a haiku about a stack trace.",
        "Lines fall like autumn,\neach one pointing to the next:\nthe cause lies below.",
        ago=200_000,
    )
    simple(
        store,
        "summary0001",
        "Summarize the meeting notes in five points.",
        "1. The release moves to March.\n2. The budget is",
        ago=90_000,
        outcome="cut",
    )
    both = parallel(store)
    simple(
        store,
        "visa0000001",
        "Do I need a visa for Norway?",
        "With a passport of the European Union you do not.",
        ago=1900,
        group="trip-to-rome",
    )
    trip = packing(store)
    simple(
        store,
        "thanks00001",
        "And shoes?",
        "Boots for the snow in Oslo, light shoes for Rome.",
        ago=40,
        group="trip-to-rome",
    )
    return {"trip": trip, "parallel": both}
