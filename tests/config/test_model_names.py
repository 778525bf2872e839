"""The name of a model in a table: every spelling that means the same model, and dots without quotes."""

from pathlib import Path

import pytest

from timestep import ConfigurationError, MultiModelProvider, OllamaModelProvider, load_settings
from timestep.config.checks import find_doubts

LAB = '[providers.lab]\nkind = "openai"\nbase_url = "http://x.example/v1"\n'


@pytest.mark.parametrize("asked", ["m", "m:latest", "M", "M:Latest"])
@pytest.mark.parametrize("written", ["m", "m:latest", "M", "PREFIX/m", "PREFIX/m:latest"])
@pytest.mark.parametrize("prefix", ["ollama", "den", "lab", "openai"])
def test_every_spelling_of_a_model_finds_its_table(monkeypatch, prefix, written, asked):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    table = prefix if prefix in {"ollama", "openai"} else f"providers.{prefix}"
    settings = "settings.temperature" if prefix in {"ollama", "den"} else "temperature"
    Path("timestep.toml").write_text(
        f"{LAB}[providers.den]\nkind = 'ollama'\n"
        f'[{table}.models."{written.replace("PREFIX", prefix)}"]\n{settings} = 0.25\n'
    )

    model = MultiModelProvider.from_env().get_model(f"{prefix}/{asked}")

    held = model.settings if hasattr(model, "settings") else model._settings
    assert held.temperature == 0.25


@pytest.mark.parametrize("written", ["m", "M:latest", "ollama/m"])
def test_options_of_a_model_count_under_every_spelling(written):
    settings = load_settings(ollama={"options": {"top_k": 3}, "models": {written: {"num_ctx": 9}}})

    assert settings.ollama.options_of("m:latest", "ollama") == {"top_k": 3, "num_ctx": 9}


def test_a_model_of_the_server_may_begin_with_the_prefix():
    Path("timestep.toml").write_text(
        LAB.replace("lab", "router")
        + '[providers.router.models."router/auto"]\ntemperature = 0.5\n'
    )

    model = MultiModelProvider.from_env().get_model("router/router/auto")

    assert model.model == "router/auto"
    assert model._settings.temperature == 0.5


TWICE = "is the same model as"
QUOTES = "a name with a dot needs quotes; write"
REFUSED = {
    "two tables": (
        '[ollama.models.m]\nnum_ctx = 1\n[ollama.models."m:latest"]\nnum_ctx = 2\n',
        ('ollama.models."m:latest" (timestep.toml:3): is the same model as ollama.models.m '
        "(timestep.toml:1); keep one of the two"),
    ),
    "with the prefix": (
        f'{LAB}models.x = {{}}\nmodels."lab/X" = {{}}\n',
        (f'providers.lab.models."lab/X" (timestep.toml:5): {TWICE} providers.lab.models.x '
        "(timestep.toml:4); keep one of the two"),
    ),
    "a header": (
        f"{LAB}[providers.lab.models.gpt-4.1]\ntemperature = 0.1\n",
        ("providers.lab.models.gpt-4.1 (timestep.toml:4): "
        f'{QUOTES} [providers.lab.models."gpt-4.1"]'),
    ),
    "a header with more below": (
        f'{LAB}[providers.lab.models.gpt-4.1-mini.reasoning]\neffort = "low"\n',
        ("providers.lab.models.gpt-4.1-mini (timestep.toml:4): "
        f'{QUOTES} [providers.lab.models."gpt-4.1-mini"]'),
    ),
    "an option of Ollama": (
        "[ollama.models.llama3.1]\nnum_ctx = 1\n",
        f'ollama.models.llama3.1 (timestep.toml:1): {QUOTES} [ollama.models."llama3.1"]',
    ),
    "a dotted key": (
        "[ollama.models]\nllama3.1.num_ctx = 1\n",
        f'ollama.models.llama3.1 (timestep.toml:2): {QUOTES} "llama3.1"',
    ),
    "an inline table": (
        "[ollama]\nmodels = { llama3.1 = { num_ctx = 1 } }\n",
        f'ollama.models.llama3.1 (timestep.toml:2): {QUOTES} "llama3.1"',
    ),
    "a name with two dots": (
        "[openai.models.o1.2.3]\nmax_tokens = 9\n",
        f'openai.models.o1.2.3 (timestep.toml:1): {QUOTES} [openai.models."o1.2.3"]',
    ),
    "an alias": (
        '[aliases]\ngpt-4.1 = "ollama/x"\n',
        f'aliases.gpt-4.1 (timestep.toml:2): {QUOTES} "gpt-4.1"',
    ),
    "an alias with settings": (
        '[aliases.gpt-4.1]\nmodel = "ollama/x"\n',
        f'aliases.gpt-4.1 (timestep.toml:1): {QUOTES} [aliases."gpt-4.1"]',
    ),
    "a provider": (
        LAB.replace("lab", "my.lab"),
        f'providers.my.lab (timestep.toml:1): {QUOTES} [providers."my.lab"]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_cannot_be_meant_is_refused_with_the_form_that_works(case):
    text, said = REFUSED[case]
    Path("timestep.toml").write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env()

    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("variable", "form"),
    [
        ("TIMESTEP_OLLAMA__MODELS__LLAMA3__1__NUM_CTX", 'TIMESTEP_OLLAMA__MODELS={"llama3.1": …}'),
        ("TIMESTEP_ALIASES__GPT-4__1", 'TIMESTEP_ALIASES={"gpt-4.1": …}'),
    ],
)
def test_a_variable_for_a_name_with_a_dot_is_told_to_be_json(monkeypatch, variable, form):
    monkeypatch.setenv(variable, "4096")

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert str(caught.value).endswith(f"write the table as JSON, as in {form}")
    assert f"(environment variable {variable})" in str(caught.value)


def test_a_version_that_a_variable_spells_with_an_underscore_is_a_doubt(monkeypatch):
    monkeypatch.setenv("TIMESTEP_OLLAMA__MODELS__LLAMA3_1__NUM_CTX", "4096")

    [doubt] = find_doubts(load_settings())

    assert doubt.text == (
        "environment variable TIMESTEP_OLLAMA__MODELS__LLAMA3_1__NUM_CTX: a variable cannot spell a "
        "dot or a hyphen. If llama3_1 is not the name of the model, write the table as JSON, as in "
        'TIMESTEP_OLLAMA__MODELS={"llama3.1": …}.'
    )


def test_options_for_one_model_under_two_names_are_refused():
    with pytest.raises(ConfigurationError, match="'m' and 'M:latest' are the same model"):
        OllamaModelProvider(model_options={"m": {}, "M:latest": {}})
