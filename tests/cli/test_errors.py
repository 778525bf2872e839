import httpx2
import openai
import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailResult,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrail,
    ToolOutputGuardrailTripwireTriggered,
)

from timestep.cli.errors import explain

REQUEST = httpx2.Request("POST", "https://api.groq.com/openai/v1/responses")


def answered(error, status, body):
    return error("Error code", response=httpx2.Response(status, request=REQUEST), body=body)


@pytest.mark.parametrize(
    ("error", "status", "next_step"),
    [
        (openai.RateLimitError, 429, "Wait a moment"),
        (openai.InternalServerError, 503, "try again in a moment"),
    ],
)
def test_a_refusal_says_who_refused_and_the_next_step(error, status, next_step):
    text = explain(answered(error, status, {"message": "Not now."}))

    assert text.startswith(f"https://api.groq.com answered {status}: Not now. ")
    assert next_step in text


def test_an_error_of_litellm_names_no_host_that_was_not_asked():
    exceptions = pytest.importorskip("litellm.exceptions", reason="LiteLLM is an extra")
    error = exceptions.BadRequestError("LLM Provider NOT provided", model="m", llm_provider="")

    text = explain(error)

    assert text == (
        "litellm.BadRequestError: LLM Provider NOT provided. The server refused the request; its "
        "message says why."
    )


@pytest.mark.parametrize("body", [None, "a page", {"detail": "x"}])
def test_a_refusal_without_a_message_is_told_in_the_client_s_words(body):
    assert "answered 429: Error code. " in explain(answered(openai.RateLimitError, 429, body))


def test_an_error_in_the_place_of_an_answer_names_the_server():
    request = httpx2.Request("POST", "http://localhost:8000/v1/chat/completions")

    text = explain(openai.APIError("Overloaded.", request, body=None))

    assert text == "http://localhost:8000 answered with an error: Overloaded."


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("", ": no route. Check the network and the base URL."),
        (
            "http://me:secret@p:1",
            (
                ": no route (through the proxy that HTTPS_PROXY names). Check the proxy, or list the "
                "server in NO_PROXY to go without it."
            ),
        ),
        (
            "ftp://secret",
            (
                ": HTTPS_PROXY names an unsupported kind of proxy. Write a URL that begins with http://, "
                "https://, socks5:// or socks5h://."
            ),
        ),
    ],
)
def test_a_lost_connection_says_where_to_and_why(monkeypatch, proxy, told):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = OSError("no route")

    assert explain(error) == f"Cannot reach https://api.groq.com{told}"


def test_a_guardrail_is_named_with_what_it_says():
    guardrail = InputGuardrail(lambda context, agent, given: None, name="polite")
    output = GuardrailFunctionOutput(output_info="rude words", tripwire_triggered=True)

    text = explain(InputGuardrailTripwireTriggered(InputGuardrailResult(guardrail, output)))

    assert text == "The guardrail polite stopped the run. It says: rude words"


@pytest.mark.parametrize(
    ("error", "guardrail"),
    [
        (ToolInputGuardrailTripwireTriggered, ToolInputGuardrail),
        (ToolOutputGuardrailTripwireTriggered, ToolOutputGuardrail),
    ],
)
def test_a_guardrail_of_a_tool_is_named_with_what_it_says(error, guardrail):
    output = ToolGuardrailFunctionOutput.raise_exception(output_info="a path outside")

    text = explain(error(guardrail(lambda data: output, name="inside"), output))

    assert text == "The guardrail inside stopped the run. It says: a path outside"


def test_errors_of_the_sdk_speak_for_themselves():
    assert explain(MaxTurnsExceeded("Max turns (10) exceeded")) == "Max turns (10) exceeded"


def test_an_unexpected_error_says_where_it_came_from():
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0

    assert explain(caught.value).startswith("ZeroDivisionError in test_errors.py:")
    assert explain(caught.value).endswith(": division by zero")
