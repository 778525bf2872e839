import json

import pytest

from timestep.batch import BadLine, Defaults, Line, read_file, read_values

BODY = {"model": "ollama/m", "messages": [{"role": "user", "content": "Hi"}]}
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def read(*values, **defaults):
    return list(read_values(values, Defaults(**defaults)))


def chat(**changes):
    return {**LINE, "body": {**BODY, **changes}}


def test_a_line_of_openai_is_read():
    [line] = read(LINE)
    assert isinstance(line, Line)
    assert (line.number, line.custom_id, line.url) == (1, "a", "/v1/chat/completions")
    assert line.question.model == "ollama/m"
    assert line.question.input == [{"role": "user", "content": "Hi"}]


def test_a_short_line_takes_what_it_lacks_from_the_defaults():
    [line] = read({"id": 7, "prompt": "Hi"}, model="fast", instructions="Be brief.")
    assert (line.custom_id, line.question.input) == ("7", "Hi")
    assert (line.question.model, line.question.instructions) == ("fast", "Be brief.")


def test_a_short_line_without_an_id_is_named_by_its_number():
    lines = read({"prompt": "a"}, {"id": "", "prompt": "b"}, {"id": None, "prompt": "c"})
    assert [line.custom_id for line in lines] == ["line-1", "line-2", "line-3"]


def test_csv_is_read_by_its_columns(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('id,question\n1,"two\nlines"\n2,second\n', encoding="utf-8-sig")
    lines = list(read_file(path, Defaults(column="question")))
    assert [(line.custom_id, line.question.input) for line in lines] == [
        ("1", "two\nlines"),
        ("2", "second"),
    ]


def test_a_column_of_csv_may_be_called_body(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,body\n1,Hi\n")
    [line] = read_file(path, Defaults(column="body"))
    assert line.question.input == "Hi"


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("prompt\nHello, you\n", 2, "more columns than the header; quote a text that has a comma"),
        ("question,to\nHi,x\nHo,y\n", 1, "column 'prompt' once; it has 'question', 'to'. --column"),
        ("prompt;to\nHi;x\n", 1, "it has 'prompt;to'"),
        ("prompt,prompt\nHi,Ho\n", 1, "it has 'prompt', 'prompt'"),
    ],
    ids=["a comma without quotes", "no such column", "semicolons", "the column twice"],
)
def test_csv_that_would_lose_text_is_refused(tmp_path, text, number, reason):
    path = tmp_path / "in.csv"
    path.write_text(text)
    [bad] = read_file(path, Defaults())
    assert bad.number == number
    assert reason in bad.reason


def test_empty_columns_at_the_end_of_a_row_of_csv_are_nothing(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("prompt\nHi,,\n")
    [line] = read_file(path, Defaults())
    assert line.question.input == "Hi"


def test_blank_lines_of_a_file_are_skipped_and_counted(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n" + json.dumps(LINE).encode() + b"\r\n\n")
    assert [line.number for line in read_file(path, Defaults())] == [2]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (b'\xef\xbb\xbf{"prompt": "Hi"}\r\n', "Hi"),
        (b'{"prompt": "nul \\u0000"}', "nul \0"),
        (b'{"prompt": "half \\ud800"}', "half \ud800"),
        (b'{"prompt": "' + b"x" * 5_000_000 + b'"}', "x" * 5_000_000),
    ],
    ids=["byte order mark", "NUL", "half a surrogate pair", "long"],
)
def test_what_json_can_say_is_read(tmp_path, text, prompt):
    path = tmp_path / "in.jsonl"
    path.write_bytes(text)
    [line] = read_file(path, Defaults())
    assert line.question.input == prompt


def test_a_line_that_is_too_long_ends_the_reading(tmp_path):
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.write(b'{"prompt": "first"}\n')
        file.seek(1 << 40)
        file.write(b"\n")
    [_, bad] = read_file(path, Defaults())
    assert (bad.number, bad.reason) == (2, "longer than 64 MiB")


def test_a_history_becomes_items():
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "assistant", "content": "let me look", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]  # fmt: skip
    [line] = read(chat(messages=messages))
    system, user, said, call, result = line.question.input
    assert system == {"role": "system", "content": "s"}
    assert [part["type"] for part in user["content"]] == ["input_text", "input_image"]
    assert said["content"][0]["text"] == "let me look"
    assert (call["call_id"], call["name"], call["arguments"]) == ("c1", "f", "{}")
    assert result == {"type": "function_call_output", "call_id": "c1", "output": "42"}


def test_settings_of_a_chat_become_model_settings():
    [line] = read(
        chat(temperature=0.5, max_completion_tokens=9, seed=3, reasoning_effort="low", top_k=4)
    )
    settings = line.question.settings
    assert (settings.temperature, settings.max_tokens) == (0.5, 9)
    assert settings.extra_args == {"seed": 3}
    assert settings.extra_body == {"top_k": 4}
    assert settings.reasoning.effort == "low"


def test_tools_and_a_schema_of_a_chat_are_offered():
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
    [line] = read(
        chat(
            tools=[{"type": "function", "function": function}],
            tool_choice={"type": "function", "function": {"name": "f"}},
            response_format={"type": "json_schema", "json_schema": schema},
        )
    )
    assert [tool.name for tool in line.question.tools] == ["f"]
    assert line.question.settings.tool_choice == "f"
    assert line.question.output.name() == "s"


def test_a_body_of_the_responses_api_is_read():
    body = {
        "model": "m",
        "input": "Hi",
        "instructions": "i",
        "max_output_tokens": 5,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
    }
    [line] = read({**LINE, "url": "/v1/responses", "body": body})
    question = line.question
    assert (question.model, question.input, question.instructions) == ("m", "Hi", "i")
    assert question.settings.max_tokens == 5
    assert [tool.name for tool in question.tools] == ["f"]
    assert question.output.json_schema() == {"type": "object"}


def schema(value):
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": value}}
    return chat(response_format=form)


@pytest.mark.parametrize(
    "value",
    [
        {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}},
        {"anyOf": [{"type": "null"}, {"$ref": "#/anyOf/0"}]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "https://x/data"}},
        {"$id": "https://x/s", "$ref": "https://x/s#/$defs/a", "$defs": {"a": {}}},
        {"$id": "https://x/a/s", "items": {"$ref": "b"}, "$defs": {"b": {"$id": "b"}}},
        {"items": {"$ref": "#a"}, "$defs": {"b": {"$anchor": "a"}}},
    ],
)
def test_a_ref_of_a_schema_that_leads_to_a_place_is_taken(value):
    [line] = read(schema(value))
    assert line.question.output.json_schema() == value


BAD = {
    "no custom_id": ({**LINE, "custom_id": None}, "custom_id is missing"),
    "another method": ({**LINE, "method": "GET"}, "method"),
    "another url": ({**LINE, "url": "/v1/embeddings"}, "url: write"),
    "a body that is not an object": ({**LINE, "body": "x"}, "body is not an object"),
    "no messages": (chat(messages=[]), "messages is empty"),
    "messages that are not objects": (chat(messages=["x"]), "not a list of objects"),
    "an unknown role": (chat(messages=[{"role": "robot"}]), "is not a role"),
    "a stream": (chat(stream=True), "does not stream"),
    "two choices": (chat(n=2), "one answer"),
    "choices that are a list": (chat(n=[]), "one answer"),
    "a wrong type": (chat(temperature="hot"), "body.temperature"),
    "a schema that is not a schema": (
        chat(response_format={"type": "json_schema", "json_schema": {"schema": {"type": 5}}}),
        "not a JSON schema",
    ),
    "a schema with a $ref that leads nowhere": (schema({"$ref": "#/$defs/gone"}), "leads nowhere"),
    "a schema with a $ref below a list": (schema({"anyOf": [{"$ref": "#/anyOf/7"}]}), "nowhere"),
    "a schema elsewhere": (schema({"items": {"$ref": "http://h/s.json"}}), "leads nowhere"),
    "a schema in another file": (schema({"$ref": "other.json"}), "leads nowhere"),
    "a schema without the anchor": (schema({"properties": {"p": {"$ref": "#a"}}}), "nowhere"),
    "a schema with a $ref into a number": (schema({"$ref": "#/x/y", "x": 5}), "leads nowhere"),
    "a schema that goes in a circle": (schema({"$ref": "#"}), "cannot be followed"),
    "a schema with a circle below": (
        schema({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
        "cannot be followed",
    ),
    "a schema of a dialect without a name": (schema({"$schema": 5}), "cannot be followed"),
    "an unknown format": (chat(response_format={"type": "yaml"}), "json_object"),
    "a hosted tool": (chat(tools=[{"type": "web_search"}]), "only functions"),
    "a server-side state": (
        {**LINE, "url": "/v1/responses", "body": {"input": "x", "previous_response_id": "r"}},
        "previous_response_id",
    ),
    "no prompt": ({"id": "a", "text": "Hi"}, "'prompt' is missing"),
    "an empty prompt": ({"id": "a", "prompt": " "}, "'prompt' is missing or empty"),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_told_with_its_number_and_field(value, words):
    good, bad = read({**LINE, "custom_id": "first"}, value)
    assert isinstance(good, Line)
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert words in bad.reason


def test_a_line_that_is_not_json_is_told(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a"\n[]\n"x"\n\xff\xfe\n' + b"[" * 5000)
    assert [type(line) for line in read_file(path, Defaults())] == [BadLine] * 5


def test_an_id_that_stands_twice_is_told():
    _, second = read(LINE, LINE)
    assert "earlier line" in second.reason


def test_another_text_gives_another_key_and_another_order_of_keys_the_same():
    key = read(LINE)[0].key
    assert read(chat(temperature=1))[0].key != key
    assert read({**LINE, "body": dict(reversed(BODY.items()))})[0].key == key
    without_model = {**LINE, "body": {"messages": BODY["messages"]}}
    assert read(without_model, model="x")[0].key != read(without_model, model="y")[0].key
