"""Runs every check, in the order in which the findings are shown."""

import asyncio
import os
from functools import partial

from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.doctor.servers import (
    Finding,
    Found,
    Server,
    Status,
    check_models,
    check_ollama,
    check_other,
    check_proxies,
    visit,
)
from timestep.cli.event_loop import run_without_waiting
from timestep.cli.inventory import leads_to_a_model, take_inventory
from timestep.cli.model_names import ConfiguredModel, configured_models
from timestep.config.checks import doubts_of_variable, find_doubts
from timestep.config.kinds import lists_models
from timestep.config.settings import Settings
from timestep.routing import split_prefix, targets

_configuration = partial(Finding, "configuration")
_FIRST = _configuration("note", "Fix this first; then the servers and models are checked.")


def examine(
    context: Context, *, patience: float, is_strict: bool = False, is_asking: bool = False
) -> list[Finding]:
    """Return every finding. Waits at most *patience* seconds for each server.

    With *is_strict* a doubt about the configuration is treated as a problem. It ends the checks
    before a server is asked. With *is_asking* each model gets one tiny request.
    """
    try:
        files = context.source_files()
        settings = context.settings
        context.check_provider()
        doubts = find_doubts(settings, env_file=context.env_file)
    except ConfigurationProblem as exc:
        wrong = [_configuration("problem", line) for line in exc.message.splitlines()]
        misspelled = [doubt for name in os.environ for doubt in doubts_of_variable(name)]
        return [*(_configuration("warning", d.text, d.fix) for d in misspelled), *wrong, _FIRST]
    read = ", ".join(str(file.path) for file in files if file.is_read)
    words = f"Read {read} and the environment." if read else "Read the environment; no file."
    doubtful: Status = "problem" if is_strict else "warning"
    findings = [
        _configuration("ok", words),
        *(_configuration(doubtful, doubt.text, doubt.fix) for doubt in doubts),
    ]
    configured, usable = configured_models(settings), list[ConfiguredModel]()
    for entry in configured:
        if problem := _why_unusable(entry.model, context):
            words = f"{entry.label} = {entry.model} cannot be used: {problem}"
            findings.append(_configuration("problem", words))
        else:
            usable.append(entry)
    if is_strict and any(finding.status == "problem" for finding in findings):
        return [*findings, _FIRST]
    if all(entry in usable for entry in configured if entry.alias is None):
        findings.append(_tell_default(settings))
    return findings + run_without_waiting(
        _check_all(context, usable, patience, is_asking=is_asking)
    )


def _why_unusable(name: str, context: Context) -> str:
    """Say why *name* leads to no model. Empty if it does, or if its provider's check says it."""
    prefix, rest = split_prefix(name)
    if not context.needs_sdk and leads_to_a_model(prefix, rest, context.settings):
        return ""
    from timestep.cli.errors import explain
    from timestep.errors import ConfigurationError

    try:
        context.build_provider().get_model(name)
    except ConfigurationError as exc:
        # A missing key or package.
        is_told = prefix in {None, "openai", *context.settings.providers}
        return "" if is_told else str(exc)
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        return explain(exc)
    return ""


def _tell_default(settings: Settings) -> Finding:
    if settings.default_model is None:
        words = "There is no default model; every agent or command must name one."
        return _configuration("note", words, "export TIMESTEP_DEFAULT_MODEL=ollama/llama3.2")
    named, models = targets(settings.default_model), settings.models_of(None)
    leads = f", which is {', then '.join(models)}" if named != models else ""
    return _configuration("ok", f"The default model is {', then '.join(named)}{leads}.")


async def _check_all(
    context: Context, configured: list[ConfiguredModel], patience: float, *, is_asking: bool
) -> list[Finding]:
    settings = context.settings
    inventories, servers = await asyncio.gather(
        take_inventory(settings, patience=patience), visit(settings, patience)
    )
    wanted = {*(entry.prefix for entry in configured), *settings.providers}
    found: list[tuple[str, Found]] = []
    for each in inventories:
        is_wanted = each.prefix in wanted
        area = f"{each.prefix or 'OpenAI'} {each.url or ''}".rstrip()
        if each.kind == "ollama":
            server = servers.get((each.prefix, each.url), Server())
            found.append((area, check_ollama(each, server, settings, is_wanted=is_wanted)))
        else:
            found.append((area, check_other(each, settings, is_wanted=is_wanted)))
    found.append(("models", check_models(configured, inventories, settings)))
    found.append(("network", check_proxies(inventories)))
    findings = [Finding(area, *said) for area, checked in found for said in checked]
    if is_asking:
        from timestep.cli.doctor.asking import ask, names_to_ask

        findings += await ask(context.build_provider(), names_to_ask(configured, inventories))
    if all(i.problem and not i.is_unlisted and lists_models(i.kind) for i in inventories):
        words = (
            "No model can be used yet: start Ollama, or set OPENAI_API_KEY. A demo needs neither."
        )
        findings.append(Finding("models", "problem", words, "timestep demo"))
    return list(dict.fromkeys(findings))
