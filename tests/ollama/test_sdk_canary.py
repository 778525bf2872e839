"""Every name of the SDK that timestep relies on: a new SDK fails here first."""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest
from agents import FunctionTool, Handoff, Model, ModelProvider, ModelSettings, MultiProvider
from agents.models.chatcmpl_converter import Converter

import timestep

PACKAGE = Path(timestep.__file__).parent


def imported():
    """Every ``from agents… import name`` and ``from openai… import name`` in the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                root = node.module.split(".")[0]
                if root in {"agents", "openai"}:
                    found |= {(node.module, alias.name) for alias in node.names}
    return sorted(found)


# These need packages of their own: the extras litellm and any-llm.
NAMES = [name for name in imported() if not name[0].startswith("agents.extensions.")]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_an_imported_name_exists(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_only_these_private_names_of_the_sdk_are_imported():
    private = [
        f"{module}.{name}"
        for module, name in imported()
        if any(part.startswith("_") for part in (*module.split("."), name))
    ]

    # CONTRIBUTING.md says why. The test above says when a name has gone.
    assert private == [
        "agents.models._openai_shared",
        "agents.models._retry_runtime.provider_managed_retries_disabled",
        "agents.models._retry_runtime.should_disable_provider_managed_retries",
    ]


def test_tools_and_handoffs_have_the_attributes_that_are_read():
    tool = {field.name for field in dataclasses.fields(FunctionTool)}
    handoff = {field.name for field in dataclasses.fields(Handoff)}

    assert {"name", "description", "params_json_schema"} <= tool
    assert {"tool_name", "tool_description", "input_json_schema"} <= handoff


def test_model_settings_have_the_attributes_that_are_read():
    names = {field.name for field in dataclasses.fields(ModelSettings)}

    assert names >= {
        "extra_args", "extra_body", "extra_headers", "extra_query", "frequency_penalty",
        "max_tokens", "parallel_tool_calls", "presence_penalty", "preserve_raw_usage", "reasoning",
        "response_include", "store", "temperature", "tool_choice", "top_logprobs", "top_p",
        "truncation", "verbosity",
    }  # a table reads better in rows # fmt: skip
    assert callable(ModelSettings().to_traceable_dict)


def test_the_interfaces_that_are_implemented_have_not_changed():
    expected = [
        "self", "system_instructions", "input", "model_settings", "tools", "output_schema",
        "handoffs", "tracing", "previous_response_id", "conversation_id", "prompt",
    ]  # a table reads better in rows # fmt: skip

    assert list(inspect.signature(Model.get_response).parameters) == expected
    assert list(inspect.signature(Model.stream_response).parameters) == expected
    assert list(inspect.signature(timestep.OllamaModel.get_response).parameters) == expected
    assert list(inspect.signature(timestep.OllamaModel.stream_response).parameters) == expected
    assert list(inspect.signature(ModelProvider.get_model).parameters) == ["self", "model_name"]


def test_the_provider_takes_every_keyword_of_the_sdks():
    ours = set(inspect.signature(timestep.MultiModelProvider).parameters)

    assert set(inspect.signature(MultiProvider).parameters) <= ours


def test_the_converter_still_makes_function_tools():
    tool = FunctionTool("f", "d", {"type": "object", "properties": {}}, None)

    function = Converter.tool_to_openai(tool)["function"]

    assert (function["name"], function["description"]) == ("f", "d")
