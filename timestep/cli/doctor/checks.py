"""All checks, in the order in which they are told."""

import asyncio

from pydantic_settings import SettingsError

from timestep.cli.configured_models import Mark, read_marks
from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.doctor.findings import Finding
from timestep.cli.doctor.models import check_models
from timestep.cli.doctor.servers import Server, check_openai, check_proxies, check_server, visit
from timestep.cli.errors import explain
from timestep.cli.event_loop import run_without_waiting
from timestep.cli.inventory import take_inventory
from timestep.config.files import misspelled_variables, source_files
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError
from timestep.registry import MultiModelProvider
from timestep.routing import chain, split_prefix, targets

_CONFIGURATION = "configuration"


def examine(context: Context, *, patience: float) -> list[Finding]:
    """Everything that was found; no server is waited for longer than *patience* seconds."""
    findings = [
        Finding(
            _CONFIGURATION,
            "warning",
            f"The variable {name} is read by nobody here. Is it {meant}?",
            f'export {meant}="${name}"; unset {name}',
        )
        for name, meant in misspelled_variables().items()
    ]
    try:
        files = source_files(env_file=context.env_file, config_file=context.config_file)
        settings, provider = context.settings, context.build_provider()
    except (SettingsError, ConfigurationProblem) as exc:
        lines = str(exc.args[0] if isinstance(exc, SettingsError) else exc.message).splitlines()
        wrong = [Finding(_CONFIGURATION, "problem", line) for line in lines]
        hint = Finding(_CONFIGURATION, "note", "Servers and models are checked once this is right.")
        return [*findings, *wrong, hint]
    read = ", ".join(str(file.path) for file in files if file.is_read)
    words = f"Read {read} and the environment." if read else "Read the environment; no file."
    findings.insert(0, Finding(_CONFIGURATION, "ok", words))
    marks = read_marks(settings)
    problems = {mark: _why_unusable(mark.model, settings, provider) for mark in marks}
    findings += [
        Finding(_CONFIGURATION, "problem", f"{mark.label} = {mark.model} cannot be used: {problem}")
        for mark, problem in problems.items()
        if problem
    ]
    usable = [mark for mark in marks if not problems[mark]]
    if all(mark in usable for mark in marks if mark.alias is None):
        findings += _tell_default(settings)
    return findings + run_without_waiting(_check_all(settings, provider, usable, patience))


def _why_unusable(name: str, settings: Settings, provider: MultiModelProvider) -> str:
    """Why *name* leads to no model; empty when it does, or when its provider's check tells."""
    try:
        provider.get_model(name)
    except ConfigurationError as exc:
        prefix, _ = split_prefix(name)
        is_told = prefix in {None, "openai", *settings.providers}  # a missing key or package
        return "" if is_told else str(exc)
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise what they like
        return explain(exc)
    return ""


def _tell_default(settings: Settings) -> list[Finding]:
    if settings.default_model is None:
        return [
            Finding(
                _CONFIGURATION,
                "note",
                "There is no default model; agents and commands must name theirs.",
                "export TIMESTEP_DEFAULT_MODEL=ollama/llama3.2",
            )
        ]
    named = targets(settings.default_model)
    models = chain(None, settings.aliases, settings.default_model)
    leads = f", which is {', then '.join(models)}" if named != models else ""
    words = f"The default model is {', then '.join(named)}{leads}."
    return [Finding(_CONFIGURATION, "ok", words)]


async def _check_all(
    settings: Settings, provider: MultiModelProvider, marks: list[Mark], patience: float
) -> list[Finding]:
    inventories, servers = await asyncio.gather(
        take_inventory(settings, provider, patience=patience), visit(provider, patience)
    )
    wanted = {split_prefix(mark.model)[0] or "" for mark in marks}
    wanted = {"" if prefix == "openai" else prefix for prefix in wanted}
    by_url = {(server.prefix, server.url): server for server in servers}
    findings: list[Finding] = []
    for inventory in inventories:
        server = by_url.get((inventory.prefix, inventory.url or ""), Server(inventory.prefix, ""))
        is_wanted = inventory.prefix in wanted or inventory.prefix in settings.providers
        if inventory.kind == "ollama":
            findings += check_server(inventory, server, settings, is_wanted=is_wanted)
        else:
            findings += check_openai(inventory, settings, is_wanted=is_wanted)
    findings += check_models(marks, inventories, settings)
    findings += check_proxies(servers)
    if all(
        inventory.problem and inventory.kind in {"openai", "ollama"} for inventory in inventories
    ):
        findings.append(
            Finding(
                "models",
                "problem",
                "No model can be used yet: start Ollama, or set OPENAI_API_KEY. A demo needs neither.",
                "timestep demo",
            )
        )
    return findings
