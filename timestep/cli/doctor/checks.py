"""Runs every check, in the order in which the findings are shown."""

import asyncio
import os

from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.doctor.findings import Finding, Status
from timestep.cli.doctor.servers import (
    Server,
    check_models,
    check_openai,
    check_proxies,
    check_server,
    visit,
)
from timestep.cli.event_loop import run_without_waiting
from timestep.cli.inventory import leads_to_a_model, take_inventory
from timestep.cli.model_names import ConfiguredModel, configured_models
from timestep.config.checks import Doubt, doubts_of_variable, find_doubts
from timestep.config.kinds import lists_models
from timestep.config.settings import Settings
from timestep.routing import split_prefix, targets

_CONFIGURATION = "configuration"
_FIRST = Finding(_CONFIGURATION, "note", "Fix this first; then the servers and models are checked.")


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
        wrong = [Finding(_CONFIGURATION, "problem", line) for line in exc.message.splitlines()]
        misspelled = [doubt for name in os.environ for doubt in doubts_of_variable(name)]
        return [*_findings(misspelled, "warning"), *wrong, _FIRST]
    findings = _findings(doubts, "problem" if is_strict else "warning")
    read = ", ".join(str(file.path) for file in files if file.is_read)
    words = f"Read {read} and the environment." if read else "Read the environment; no file."
    findings.insert(0, Finding(_CONFIGURATION, "ok", words))
    configured = configured_models(settings)
    problems = {entry: _why_unusable(entry.model, context) for entry in configured}
    findings += [
        Finding(
            _CONFIGURATION, "problem", f"{entry.label} = {entry.model} cannot be used: {problem}"
        )
        for entry, problem in problems.items()
        if problem
    ]
    if is_strict and any(finding.status == "problem" for finding in findings):
        return [*findings, _FIRST]
    usable = [entry for entry in configured if not problems[entry]]
    if all(entry in usable for entry in configured if entry.alias is None):
        findings += _tell_default(settings)
    checks = _check_all(context, usable, patience, is_asking=is_asking)
    return findings + run_without_waiting(checks)


def _findings(doubts: list[Doubt], status: Status) -> list[Finding]:
    return [Finding(_CONFIGURATION, status, doubt.text, doubt.fix) for doubt in doubts]


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


def _tell_default(settings: Settings) -> list[Finding]:
    if settings.default_model is None:
        return [
            Finding(
                _CONFIGURATION,
                "note",
                "There is no default model; every agent or command must name one.",
                "export TIMESTEP_DEFAULT_MODEL=ollama/llama3.2",
            )
        ]
    named = targets(settings.default_model)
    models = settings.models_of(None)
    leads = f", which is {', then '.join(models)}" if named != models else ""
    words = f"The default model is {', then '.join(named)}{leads}."
    return [Finding(_CONFIGURATION, "ok", words)]


async def _check_all(
    context: Context, configured: list[ConfiguredModel], patience: float, *, is_asking: bool
) -> list[Finding]:
    settings = context.settings
    inventories, servers = await asyncio.gather(
        take_inventory(settings, patience=patience), visit(settings, patience)
    )
    wanted = {entry.prefix for entry in configured}
    by_url = {(server.prefix, server.url): server for server in servers}
    findings: list[Finding] = []
    for inventory in inventories:
        server = by_url.get((inventory.prefix, inventory.url or ""), Server(inventory.prefix, ""))
        is_wanted = inventory.prefix in wanted or inventory.prefix in settings.providers
        if inventory.kind == "ollama":
            findings += check_server(inventory, server, settings, is_wanted=is_wanted)
        else:
            findings += check_openai(inventory, settings, is_wanted=is_wanted)
    findings += check_models(configured, inventories, settings)
    findings += check_proxies(servers)
    if is_asking:
        from timestep.cli.doctor.asking import ask, names_to_ask

        findings += await ask(context.build_provider(), names_to_ask(configured, inventories))
    if all(i.problem and not i.is_unlisted and lists_models(i.kind) for i in inventories):
        findings.append(
            Finding(
                "models",
                "problem",
                "No model can be used yet: start Ollama, or set OPENAI_API_KEY. A demo needs neither.",
                "timestep demo",
            )
        )
    return findings
