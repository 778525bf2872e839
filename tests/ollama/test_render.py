import json
from pathlib import Path

import pytest
from agents import ModelSettings, ModelTracing, function_tool

from timestep import ConfigurationError, OllamaModel, OllamaModelProvider, OllamaStreamError
from timestep.net.origin import Origin
from timestep.ollama.render import RenderedPrompt, may_be_refused, read_rendered, whole_prompt

WIRE = Path(__file__).parents[1] / "wire"
RENDERED = sorted(path.stem for path in WIRE.glob("*render*.json"))


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


def arguments(asked="hello", tools=()):
    return (None, asked, ModelSettings(), list(tools), None, [], ModelTracing.DISABLED)


@pytest.mark.parametrize("name", RENDERED)
def test_every_recorded_rendering_is_read(name):
    recording = json.loads((WIRE / f"{name}.json").read_text())
    if recording["response"]["status"] != 200:
        return
    answer = json.loads(recording["response"]["body"])

    info = answer["_debug_info"]
    body = {"messages": [], "tools": []}
    rendered = read_rendered(answer, body, Origin("m", "http://h"))

    assert rendered.text == info["rendered_template"]
    assert rendered.image_count == info.get("image_count", 0)


def test_messages_that_the_server_dropped_are_named():
    recording = json.loads((WIRE / "ctx-text-long-history-render.json").read_text())
    answer = json.loads(recording["response"]["body"])

    rendered = read_rendered(answer, recording["request"]["body"], Origin("m", "http://h"))

    assert [cut[:10] for cut in rendered.cut] == ["user: OLD1"]


async def test_render_asks_for_the_prompt_and_generates_nothing(fake_ollama, provider):
    model = provider.get_model("m")

    rendered = await model.render(*arguments("What is up?", [get_weather]))

    assert "What is up?" in rendered.text
    assert rendered.cut == ()
    sent = fake_ollama.chats[0]
    assert (sent["_debug_render_only"], sent["stream"]) == (True, False)
    assert sent["tools"][0]["function"]["name"] == "get_weather"


LONG = [
    {"role": "user", "content": "one " * 60},
    {"role": "assistant", "content": "two " * 60},
    {"role": "user", "content": "three"},
]


@pytest.mark.parametrize(
    ("overflow", "window", "is_refused", "cut", "is_whole"),
    [
        ("error", 4096, False, (), True),
        ("error", 100, True, ("user: one",), True),
        ("error", 10, True, ("user: one", "assistant: two"), True),
        ("truncate", 100, False, ("user: one",), False),
    ],
)
async def test_a_prompt_that_would_be_refused_is_shown_whole_and_marked(
    fake_ollama, overflow, window, is_refused, cut, is_whole
):
    provider = OllamaModelProvider(
        base_url=fake_ollama.url, on_context_overflow=overflow, options={"num_ctx": window}
    )

    rendered = await provider.get_model("m").render(*arguments(LONG))

    assert rendered.is_refused is is_refused
    assert len(rendered.cut) == len(cut)
    assert all(map(str.startswith, rendered.cut, cut))
    assert all(message["content"] in rendered.text for message in LONG) is is_whole


@pytest.mark.parametrize("answer", [{"message": {}, "done": True}, [], None, {"_debug_info": 1}])
def test_a_server_that_renders_nothing_is_a_clear_error(answer):
    with pytest.raises(OllamaStreamError, match="does not show the prompt"):
        read_rendered(answer, {"messages": []}, Origin("m", "http://h"))


async def test_a_foreign_chat_cannot_render():
    class Client:
        async def chat(self, **keywords):
            return {}

    with pytest.raises(ConfigurationError, match="base_url"):
        await OllamaModel("m", Client()).render(*arguments())


async def test_what_openai_keeps_is_refused_under_strict_validation(fake_ollama):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)

    with pytest.raises(Exception, match="conversation_id"):
        await provider.get_model("m").render(*arguments(), conversation_id="conv_1")


def prompt(*cut):
    return RenderedPrompt("text", 0, cut, (), ())


@pytest.mark.parametrize(
    ("cut", "uncut", "is_refused"),
    [
        (("user: a",), (), True),
        (("tool: a", "user: b"), ("tool: a",), True),
        (("tool: a",), ("tool: a",), False),
    ],
)
def test_what_the_template_leaves_out_is_not_what_does_not_fit(cut, uncut, is_refused):
    whole = whole_prompt(prompt(*cut), prompt(*uncut))

    assert (whole.is_refused, whole.cut) == (is_refused, cut)


@pytest.mark.parametrize(
    ("cut", "truncate", "may_be"),
    [
        (("user: a",), False, True),
        (("user: a",), True, False),
        (("system: s", "user: z"), False, False),
        ((), False, False),
    ],
)
def test_only_what_a_server_may_cut_is_asked_about_again(cut, truncate, may_be):
    messages = [("system", "s"), ("user", "a"), ("user", "z")]
    body = {
        "messages": [{"role": role, "content": content} for role, content in messages],
        "truncate": truncate,
    }

    assert may_be_refused(prompt(*cut), body) is may_be
