"""Everything but the model's words: metadata, capabilities, refusals."""

import json
import re
from pathlib import Path

import httpx
import pytest

from timestep.testing import FakeOllama, InvalidRequest, Model, Recording, UnexpectedRequest

WIRE = {
    recording.name: recording
    for recording in Recording.load_all(Path(__file__).parents[1] / "wire")
}
PIXEL = "iVBORw0KGgo="


@pytest.fixture
def client(fake_ollama):
    with httpx.Client(base_url=fake_ollama.url, timeout=60) as client:
        yield client


def ask(client, **fields):
    return client.post(
        "/api/chat", json={"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    )


def keys(value):
    return [(key, keys(item)) for key, item in value.items()] if isinstance(value, dict) else None


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_the_root_says_that_it_runs(client, method):
    response = client.request(method, "/")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["content-length"] == "17"
    assert response.text == ("" if method == "HEAD" else "Ollama is running")


def test_the_version_and_the_status_have_the_recorded_form(client):
    assert re.fullmatch(r"\d+\.\d+\.\d+", client.get("/api/version").json()["version"])
    assert client.get("/api/status").json() == {"cloud": {"disabled": False, "source": "none"}}


def test_before_a_model_is_added_every_name_is_one_that_can_do_everything(client):
    shown = client.post("/api/show", json={"model": "any/name:tag"}).json()

    assert shown["capabilities"] == ["completion", "tools", "thinking", "vision"]
    assert client.get("/api/tags").json() == {"models": []}
    assert client.get("/api/ps").json() == WIRE["ps-empty"].json


def test_an_added_model_is_shown_listed_and_running_as_scripted(fake_ollama, client):
    fake_ollama.add_model("old")
    fake_ollama.add_model(
        "qwen3:4b",
        capabilities=["completion", "tools"],
        context_length=1000,
        window=2048,
        family="qwen3",
        parameters={"num_ctx": 512},
        system="Be brief.",
    )
    fake_ollama.reply("x")
    ask(client, model="qwen3:4b")

    shown = client.post("/api/show", json={"name": "Qwen3:4B"}).json()
    listed = client.get("/api/tags").json()["models"]
    (running,) = client.get("/api/ps").json()["models"]

    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["model_info"]["qwen3.context_length"] == 1000
    assert shown["parameters"] == "num_ctx                        512"
    assert shown["system"] == "Be brief."
    assert [model["name"] for model in listed] == ["qwen3:4b", "old:latest"]
    assert (running["name"], running["context_length"]) == ("qwen3:4b", 1000)


def test_metadata_has_the_recorded_keys_in_their_order():
    model = Model("m", parameters={"seed": 1})
    shown = WIRE["show-tiny-tools"].json
    del shown["license"], shown["tensors"]  # a fake model has none
    expected = [(key, None if key == "model_info" else inner) for key, inner in keys(shown)]

    assert [(key, None if key == "model_info" else i) for key, i in keys(model.show())] == expected
    assert keys(model.listed()) == keys(WIRE["tags"].json["models"][0])
    assert keys(model.running(1)) == keys(WIRE["ps-loaded"].json["models"][0])


def test_an_unknown_model_is_not_found_in_the_servers_words(fake_ollama, client):
    fake_ollama.add_model("known")

    chat = ask(client, model="no-such-model")
    shown = client.post("/api/show", json={"model": "no-such-model"})

    assert (chat.status_code, chat.json()) == (404, WIRE["bad-model-not-found"].json)
    assert (shown.status_code, shown.json()) == (404, WIRE["show-not-found"].json)


@pytest.mark.parametrize(
    ("name", "full", "shortest"),
    [
        ("m", "registry.ollama.ai/library/m:latest", "m:latest"),
        ("u/m:t", "registry.ollama.ai/u/m:t", "u/m:t"),
        ("hf.co/u/m:Q4", "hf.co/u/m:Q4", "hf.co/u/m:Q4"),
        ("host:5000/u/m", "host:5000/u/m:latest", "host:5000/u/m:latest"),
        ("registry.ollama.ai/library/m:t", "registry.ollama.ai/library/m:t", "m:t"),
    ],
)
def test_a_name_is_completed_as_the_server_does(fake_ollama, client, name, full, shortest):
    fake_ollama.add_model(name, capabilities=["completion"])

    response = ask(client, model=name, tools=[{}])

    assert response.json()["error"] == f"{full} does not support tools"
    assert client.get("/api/tags").json()["models"][0]["name"] == shortest
    assert client.post("/api/show", json={"model": full}).status_code == 200


def test_pulling_reports_progress_and_adds_the_model(fake_ollama, client):
    fake_ollama.add_model("known")

    lines = client.post("/api/pull", json={"model": "new:1b"}).text.splitlines()

    progress = [json.loads(line) for line in lines]
    assert progress[0] == {"status": "pulling manifest"}
    assert [line.get("completed") for line in progress if "total" in line] == [
        None, progress[1]["total"] // 2, progress[1]["total"]
    ]  # a table reads better in rows # fmt: skip
    assert progress[-1] == {"status": "success"}
    assert client.get("/api/tags").json()["models"][0]["name"] == "new:1b"
    whole = client.post("/api/pull", json={"model": "new:1b", "stream": False})
    assert whole.json() == {"status": "success"}
    assert len(client.get("/api/tags").json()["models"]) == 2


def test_pulling_while_every_name_is_a_model_changes_nothing(client):
    client.post("/api/pull", json={"model": "new:1b"})

    assert client.get("/api/tags").json() == {"models": []}


def test_metadata_needs_no_script_and_is_recorded(fake_ollama, client):
    client.get("/api/version")
    client.post("/api/show", json={"model": "m"})

    assert [str(request) for request in fake_ollama.requests] == [
        "GET /api/version", "POST /api/show"
    ]  # a table reads better in rows # fmt: skip
    assert fake_ollama.chats == []


def test_loading_and_unloading_are_answered_as_recorded(fake_ollama, client):
    load = client.post("/api/chat", json={"model": "m"})
    running = client.get("/api/ps").json()["models"]
    unload = ask(client, messages=[], keep_alive=0)

    for response, name in ((load, "chat-load-empty-messages"), (unload, "chat-unload")):
        assert response.headers["content-type"] == WIRE[name].headers["Content-Type"]
        expected = {**WIRE[name].json, "model": "m", "created_at": response.json()["created_at"]}
        assert list(response.json().items()) == list(expected.items())
    assert [(model["name"], model["context_length"]) for model in running] == [("m:latest", 4096)]
    assert client.get("/api/ps").json() == {"models": []}
    assert ask(client, messages=[], keep_alive="0s").json()["done_reason"] == "unload"
    assert ask(client, messages=[], keep_alive="5m").json()["done_reason"] == "load"


def test_the_window_is_the_num_ctx_of_the_last_request(fake_ollama, client):
    ask(client, messages=[], options={"num_ctx": 8192})

    assert client.get("/api/ps").json()["models"][0]["context_length"] == 8192


def test_a_prompt_is_rendered_for_the_asking(client):
    response = ask(
        client,
        messages=[{"role": "SYSTEM", "content": "s"}, None, {"role": "user", "images": [PIXEL]}],
        tools=[{"function": {"name": "f"}}],
        _debug_render_only=True,
    )

    answer = response.json()
    assert keys(answer)[:-1] == keys(WIRE["bad-role-upper"].json)[:-1]
    assert answer["message"] == {"role": "", "content": ""}
    assert answer["_debug_info"]["image_count"] == 1
    assert answer["_debug_info"]["rendered_template"] == (
        '<|im_start|>tools\n[{"function": {"name": "f"}}]<|im_end|>\n'
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>\n<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "image_count" not in ask(client, _debug_render_only=True).json()["_debug_info"]


@pytest.mark.parametrize(
    ("capabilities", "fields", "status", "error"),
    [
        (["completion"], {"think": True}, 400, '"m" does not support thinking'),
        (["completion"], {"think": "low"}, 400, '"m" does not support thinking'),
        (["embedding"], {}, 400, '"m" does not support chat'),
        (
            ["completion"],
            {"tools": [{}]},
            400,
            "registry.ollama.ai/library/m:latest does not support tools",
        ),
        (
            ["completion"],
            {"messages": [{"role": "user", "images": [PIXEL]}]},
            500,
            WIRE["image-nonvision-native"].json["error"],
        ),
    ],
)
def test_a_model_refuses_what_it_cannot_do_and_no_test_fails(
    fake_ollama, client, capabilities, fields, status, error
):
    fake_ollama.add_model("m", capabilities=capabilities)

    response = ask(client, **fields)

    assert (response.status_code, response.json()) == (status, {"error": error})


@pytest.mark.parametrize("fields", [{"think": False}, {"think": None}, {"tools": []}])
def test_a_model_takes_what_asks_for_nothing_special(fake_ollama, client, fields):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.reply("x")

    assert ask(client, **fields).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/chat", {"messages": "hi"}, 400, WIRE["bad-messages-string"].json["error"]),
        ("/api/chat", {"model": "m", "messages": [{}], "options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
        ("/api/chat", {"model": "m", "messages": [{}], "format": 1}, 500, 'invalid format: "1"; expected "json" or a valid JSON Schema object'),
        ("/api/show", {"model": ""}, 400, "model is required"),
        ("/api/show", {"model": 5}, 400, "json: cannot unmarshal number into Go struct field ShowRequest.model of type string"),
        ("/api/pull", {"model": "bad name!"}, 400, "invalid model name"),
    ],
)  # a table reads better in rows # fmt: skip
def test_an_invalid_request_is_refused_keeps_the_script_and_fails_the_test(
    path, body, status, error
):
    with FakeOllama(strict=False) as fake:
        fake.reply("kept")
        response = httpx.post(f"{fake.url}{path}", json=body)

    assert (response.status_code, response.json()) == (status, {"error": error})
    with pytest.raises(InvalidRequest, match=f"POST {path} is refused by a real server") as failure:
        fake.verify()
    assert f"with {status}: {error}" in str(failure.value)
    assert "reply 'kept'" in str(failure.value)


@pytest.mark.parametrize("name", ["show-bad-json", "show-empty-body"])
def test_a_broken_show_request_is_refused_as_recorded(name):
    with FakeOllama(strict=False) as fake:
        response = httpx.post(f"{fake.url}/api/show", content=WIRE[name].request.body)

    assert (response.status_code, response.json()) == (WIRE[name].status, WIRE[name].json)


@pytest.mark.parametrize("path", ["/v1/api/chat", "/api/nothing"])
def test_an_unknown_path_is_not_found_and_fails_the_test(path):
    with FakeOllama(strict=False) as fake:
        response = httpx.post(f"{fake.url}{path}", json={})

    assert (response.status_code, response.text) == (404, "404 page not found")
    with pytest.raises(UnexpectedRequest, match=f"POST {path} came"):
        fake.verify()


@pytest.mark.parametrize(("path", "name"), [("chat", "http-chat-get"), ("show", "show-get")])
def test_a_wrong_method_is_refused_as_recorded_and_fails_the_test(path, name):
    with FakeOllama(strict=False) as fake:
        response = httpx.get(f"{fake.url}/api/{path}")

    assert (response.status_code, response.content) == (WIRE[name].status, WIRE[name].body)
    assert response.headers["allow"] == WIRE[name].headers["Allow"]
    with pytest.raises(UnexpectedRequest, match=f"GET /api/{path} came"):
        fake.verify()


def test_a_prompt_is_cut_to_its_window_unless_it_must_not_be(client):
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "old " * 20},
        {"role": "user", "content": "new"},
    ]
    asked = {"messages": messages, "options": {"num_ctx": 10}, "_debug_render_only": True}

    def rendered(**more):
        return ask(client, **asked, **more).json()["_debug_info"]["rendered_template"]

    assert "old" not in rendered()
    assert "old" in rendered(truncate=False)
    assert all(text in rendered() for text in ("system\ns<", "new"))


SYSTEMS = [{"role": "system", "content": "one"}, {"role": "system", "content": "two"}]


@pytest.mark.parametrize(
    ("kind", "is_dropped", "status"),
    [("all", False, 200), ("first", True, 200), ("one", True, 500)],
)
def test_renderers_differ_in_several_system_messages(fake_ollama, client, kind, is_dropped, status):
    fake_ollama.add_model("m", system_messages=kind)
    response = ask(client, model="m", messages=SYSTEMS, _debug_render_only=True)

    assert response.status_code == status
    assert ("two" not in response.text) is is_dropped


def test_an_old_server_takes_thinking_without_levels(fake_ollama, client):
    fake_ollama.add_model("m", think_levels=False)
    fake_ollama.reply("Hi!")
    refused = ask(client, model="m", think="medium")

    assert refused.status_code == 400
    assert refused.json() == {"error": 'think value "medium" is not supported for this model'}
    assert ask(client, model="m", think=True).status_code == 200


@pytest.mark.parametrize(
    ("schema", "status"), [({"type": "string"}, 200), ({"anyOf": [{"type": "string"}]}, 500)]
)
def test_an_old_template_needs_the_type_of_every_property(fake_ollama, client, schema, status):
    fake_ollama.add_model("m", needs_types=True)
    tool = {
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
    }
    response = ask(client, model="m", tools=[tool], _debug_render_only=True)

    assert response.status_code == status


ANY_OF = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "many", "many"),
        ({"type": "string"}, "5", "5"),
        ({"type": ["boolean", "null"]}, "true", True),
        ({"type": "number"}, "true", "true"),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        (ANY_OF, "5", 5),
        (ANY_OF, "null", None),
        ({"anyOf": [ANY_OF]}, "5", "5"),
        ({"enum": [5]}, "5", "5"),
        ({}, "[5]", "[5]"),
    ],
)
def test_an_argument_written_as_text_has_the_type_of_its_property(
    fake_ollama, client, schema, text, value
):
    tool = {
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}
    }
    fake_ollama.reply(tool_calls=[("f", {"a": text})], text_arguments=True)
    answer = ask(client, tools=[tool], stream=False).json()

    assert answer["message"]["tool_calls"][0]["function"]["arguments"] == {"a": value}


def test_half_a_call_may_be_sent_whole_at_the_limit(fake_ollama, client):
    fake_ollama.reply(tool_calls=[("f", {"a": "half"})], done_reason="length")
    answer = ask(client, tools=[{"function": {"name": "f"}}], stream=False).json()

    assert answer["done_reason"] == "length"
    assert answer["message"]["tool_calls"][0]["function"]["arguments"] == {"a": "half"}


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_an_answer_may_end_as_none(fake_ollama, client, reason):
    fake_ollama.reply(done_reason=reason)

    assert ask(client, stream=False).json()["done_reason"] == reason
