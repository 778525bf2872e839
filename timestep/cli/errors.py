"""Errors as a command reports them: what happened and the next step, never a traceback."""

import traceback
from pathlib import Path

import openai
from agents import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    UserError,
)

from timestep.errors import UnknownModelError, unknown_prefix
from timestep.fallback.reasons import reason_of
from timestep.net.connection import CHECK_PROXY
from timestep.net.json_parts import mapping
from timestep.net.proxies import ProxyError, proxy_for
from timestep.net.urls import authority
from timestep.traces.tool_failures import read_failure


def explain(error: Exception) -> str:
    """Return what to tell a user about *error*, which a model or the Runner raised."""
    match error:
        case UnknownModelError() if error.prefix and error.prefix not in error.known:
            return (
                f"{unknown_prefix(error.prefix, error.known)} 'timestep models' lists the models; "
                f"[providers.{error.prefix}] in timestep.toml adds another server."
            )
        case InputGuardrailTripwireTriggered() | OutputGuardrailTripwireTriggered():
            result = error.guardrail_result
            return _explain_guardrail(result.guardrail.get_name(), result.output.output_info)
        case ToolInputGuardrailTripwireTriggered() | ToolOutputGuardrailTripwireTriggered():
            return _explain_guardrail(error.guardrail.get_name(), error.output.output_info)
        case UserError() if str(error).startswith(_OF_TOOL) and error.__cause__ is not None:
            failure = read_failure(error.__cause__)
            tool = str(error).removeprefix(_OF_TOOL).partition(":")[0]
            return f"The tool {tool} raised {failure.error} ({failure.place})."
        case AgentsException():
            return str(error)
        case openai.APIConnectionError():
            return _explain_unreached(str(error.request.url), error.__cause__ or error)
        case openai.APIStatusError():
            host = authority(str(error.request.url))
            said = str(mapping(error.body).get("message") or error.message).rstrip(".")
            step = _STEPS.get(reason_of(error), _STEPS[None])
            # LiteLLM makes requests up, such as one to litellm.ai.
            is_made_up = type(error).__module__.startswith("litellm.")
            who = "" if is_made_up else f"{host} answered {error.status_code}: "
            return f"{who}{said}. {step}"
        case openai.APIError():  # came instead of an answer, or in the middle of one
            host = authority(str(error.request.url))
            return f"{host} answered with an error: {error.message.rstrip('.')}."
        case openai.OpenAIError():
            return f"{error} Or name an Ollama model: --model ollama/llama3.2"
        case _:  # with the place that a bug report needs
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            return f"{type(error).__name__} in {place}: {error}"


def _explain_unreached(url: str, reason: BaseException) -> str:
    """Return what to tell about a failed connection of OpenAI's own client, which reads the proxy variables."""
    try:
        proxy = proxy_for(url, socks_package="socksio")
    except ProxyError as exc:
        return f"Cannot reach {authority(url)}: {exc}"
    if proxy is None:
        return f"Cannot reach {authority(url)}: {reason}. Check the network and the base URL."
    return f"Cannot reach {authority(url)}: {reason} ({proxy.through}). {CHECK_PROXY}"


_OF_TOOL = "Error running tool "
"""How the SDK begins the error of a tool that has no ``failure_error_function``."""


def _explain_guardrail(name: str, said: object) -> str:
    return f"The guardrail {name} stopped the run." + (f" It says: {said}" if said else "")


_STEPS: dict[str | None, str] = {
    "authentication": "Check the key: OPENAI_API_KEY for OpenAI, api_key or api_key_command for your own "
    "provider.",
    "not_found": "Check the model's name and the base URL.",
    "rate_limit": "Wait a moment, or check your quota with the provider.",
    "busy": "The server failed; try again in a moment.",
    "timeout": "The server took too long; try again in a moment.",
    None: "The server refused the request; its message says why.",
}
"""The next step by the reason of a failure."""
