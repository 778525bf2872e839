"""A subclass of `Settings` adds and reorders sources in the usual way of pydantic-settings."""

import pickle
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from timestep import MultiModelProvider, Settings


def with_sources(choose, **config):
    """A subclass whose sources *choose* picks from ours; it is given the class and the four."""

    class AppSettings(Settings):
        model_config = SettingsConfigDict(**config)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            ours = (init_settings, env_settings, dotenv_settings, file_secret_settings)
            inherited = super().settings_customise_sources(settings_cls, *ours)
            return choose(settings_cls, ours, inherited)

    return AppSettings


YAML = """\
default_model: groq-eu/llama
openai:
  api_key: sk-yaml
  timeout: 30
providers:
  groq-eu:
    kind: openai
    base_url: https://eu.example.com/v1
"""


class Vault(PydanticBaseSettingsSource):
    """A source of an application: it knows one key, when it is asked."""

    def get_field_value(self, field, field_name):
        return None, field_name, False

    def __call__(self):
        return {"openai": {"api_key": "sk-vault"}, "ollama": {"options": {"num_ctx": 1}}}


@pytest.fixture
def yaml_settings():
    Path("app.yaml").write_text(YAML)
    return with_sources(
        lambda cls, ours, inherited: (*inherited, YamlConfigSettingsSource(cls)),
        yaml_file="app.yaml",
    )


def test_yaml_is_the_weakest_source_where_it_is_added_last(yaml_settings, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    Path("timestep.toml").write_text("[openai]\ntimeout = 60\nproject = 'p'\n")
    settings = yaml_settings()

    assert settings.openai.api_key == SecretStr("sk-environment")
    assert (settings.openai.timeout, settings.openai.project) == (60, "p")
    assert settings.default_model == "groq-eu/llama"
    timeout = settings.origin_of("openai.timeout")
    assert str(timeout.winner) == "timestep.toml:2"
    assert [str(loser) for loser in timeout.losers] == ["YamlConfigSettingsSource"]
    assert str(settings.origin_of("default_model").winner) == "YamlConfigSettingsSource"
    assert settings.origin_of("default_model").winner.kind == "foreign"


def test_the_four_sources_may_be_listed_without_ours_of_toml(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    Path(".env").write_text("OPENAI_API_KEY=sk-dotenv\nOPENAI_PROJECT_ID=p\n")
    Path("timestep.toml").write_text("default_model = 'unread'\n")
    subclass = with_sources(lambda cls, ours, _: (ours[0], ours[2], ours[1], Vault(cls)))
    settings = subclass(ollama={"keep_alive": "5m"})

    assert settings.openai.api_key == SecretStr("sk-dotenv")
    assert settings.default_model is None
    assert settings.ollama.options == {"num_ctx": 1}
    assert settings.ollama.keep_alive == "5m"
    origin = settings.origin_of("openai.api_key")
    assert [str(origin.winner), *map(str, origin.losers)] == [
        ".env:1",
        "environment variable OPENAI_API_KEY",
        "Vault",
    ]


def test_a_source_of_the_application_may_win_over_all():
    subclass = with_sources(lambda cls, ours, inherited: (Vault(cls), *inherited))
    settings = subclass(openai={"api_key": "sk-argument"})

    assert settings.openai.api_key == SecretStr("sk-vault")
    assert str(settings.origin_of("openai.api_key").winner) == "Vault"
    assert [str(loser) for loser in settings.origin_of("openai.api_key").losers] == ["argument"]


def test_two_sources_of_one_class_are_both_seen():
    Path("a.yaml").write_text("default_model: a\nopenai: {timeout: 1}\n")
    Path("b.yaml").write_text("default_model: b\nopenai: {project: p}\n")
    subclass = with_sources(
        lambda cls, ours, inherited: (
            YamlConfigSettingsSource(cls, "a.yaml"),
            YamlConfigSettingsSource(cls, "b.yaml"),
        )
    )
    settings = subclass()

    assert (settings.default_model, settings.openai.project) == ("a", "p")
    assert set(settings.origins) == {"default_model", "openai.timeout", "openai.project"}
    assert len(settings.origin_of("default_model").losers) == 1


def test_a_variable_belongs_to_the_name_that_yaml_spells(yaml_settings, monkeypatch):
    monkeypatch.setenv("TIMESTEP_PROVIDERS__GROQ_EU__API_KEY", "sk-variable")
    settings = yaml_settings()

    assert settings.providers["groq-eu"].api_key == SecretStr("sk-variable")
    assert settings.origin_of("providers.groq-eu.api_key").winner.kind == "environment"


def test_a_provider_is_built_from_a_subclass(yaml_settings):
    provider = MultiModelProvider.from_settings(yaml_settings())

    assert provider.get_model(None).model == "llama"


def test_a_subclass_pickles_with_its_origins():
    settings = pickle.loads(pickle.dumps(Pickled()))

    assert settings.origin_of("openai.api_key").winner.location == "Vault"


class Pickled(Settings):
    @classmethod
    def settings_customise_sources(cls, settings_cls, **sources):
        return (*sources.values(), Vault(settings_cls))


def test_a_mistake_in_a_foreign_source_names_its_class_and_not_the_value(yaml_settings):
    Path("app.yaml").write_text("openai: {timeout: sk-secret}\n")
    with pytest.raises(ValidationError) as caught:
        yaml_settings()

    text = str(caught.value)
    assert "openai.timeout (YamlConfigSettingsSource): must be a valid number" in text
    assert "sk-secret" not in text


def test_an_unknown_key_of_a_foreign_source_gets_a_suggestion(yaml_settings):
    Path("app.yaml").write_text("openai: {time_out: 3}\n")
    with pytest.raises(ValidationError, match=r"Did you mean openai\.timeout\?"):
        yaml_settings()


def test_a_field_of_a_subclass_is_a_setting(monkeypatch):
    class AppSettings(Settings):
        greeting: str = "hello"
        """What the application says first."""

    monkeypatch.setenv("TIMESTEP_GREETING", "hi")
    assert AppSettings().greeting == "hi"
    monkeypatch.setenv("TIMESTEP_GREETINGS", "hi")
    with pytest.raises(ValidationError, match=r"Did you mean TIMESTEP_GREETING\?"):
        AppSettings()


class Cloud(EnvSettingsSource):
    """Reads as the library's sources for AWS and Azure do: one secret holds many names."""

    def _load_env_vars(self):
        return {"openai--api_key": "sk-cloud", "providers--groq--api_key": "sk-groq"}


def test_a_secret_manager_of_the_library_fills_in_keys():
    Path("timestep.toml").write_text("[providers.groq]\nkind = 'litellm'\n")
    subclass = with_sources(
        lambda cls, ours, inherited: (
            *inherited,
            Cloud(cls, case_sensitive=True, env_nested_delimiter="--"),
        )
    )
    settings = subclass()

    assert settings.openai.api_key == SecretStr("sk-cloud")
    assert settings.providers["groq"].api_key == SecretStr("sk-groq")
    assert str(settings.origin_of("providers.groq.api_key").winner) == "Cloud"


def test_a_subclass_may_name_its_files_in_its_config():
    for name in ("base.env", "local.env"):
        Path(name).write_text(f"TIMESTEP_DEFAULT_MODEL={name}\n")
    Path("base.env").write_text("TIMESTEP_DEFAULT_MODEL=base\nOPENAI_PROJECT_ID=p\n")
    Path("mounted").mkdir()
    Path("mounted/OPENAI_API_KEY").write_text("sk-mounted")

    class AppSettings(Settings):
        model_config = SettingsConfigDict(env_file=("base.env", "local.env"), secrets_dir="mounted")

    settings = AppSettings()
    assert (settings.default_model, settings.openai.project) == ("local.env", "p")
    assert settings.openai.api_key == SecretStr("sk-mounted")
    Path("base.env").unlink()
    with pytest.raises(SettingsError, match=r"base\.env does not exist"):
        AppSettings()


def test_of_two_files_the_last_one_wins():
    for name in ("first", "last"):
        Path(f"{name}.env").write_text(f"MY_KEY=sk-{name}\nTIMESTEP_DEFAULT_MODEL={name}\n")
        Path(name).mkdir()
        Path(name, "OPENAI_PROJECT_ID").write_text(name)
    Path("timestep.toml").write_text("[openai]\napi_key = 'env:MY_KEY'\n")

    class AppSettings(Settings):
        model_config = SettingsConfigDict(
            env_file=("first.env", "last.env"), secrets_dir=("first", "last")
        )

    settings = AppSettings()
    assert settings.openai.api_key == SecretStr("sk-last")
    assert (settings.default_model, settings.openai.project) == ("last", "last")
    assert [str(loser) for loser in settings.origin_of("default_model").losers] == ["first.env:2"]


def test_a_source_may_have_a_name_of_its_own():
    class Named(Vault):
        __name__ = "vault"

    settings = with_sources(lambda cls, ours, inherited: (*inherited, Named(cls)))()

    assert str(settings.origin_of("openai.api_key").winner) == "Named"


def test_the_file_of_a_subclass_gives_way_to_an_argument_and_none():
    Path("other.env").write_text("TIMESTEP_DEFAULT_MODEL=other\n")

    class AppSettings(Settings):
        model_config = SettingsConfigDict(env_file="missing.env")

    assert AppSettings(_env_file="other.env").default_model == "other"
    assert AppSettings(_env_file=None).default_model is None


@pytest.fixture
def documented():
    """The settings classes of the docs that read a secret manager."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    [block] = [
        code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "AWS" in code
    ]
    scope = {}
    exec(compile(block, "docs/configuration.md", "exec"), scope)
    return scope


def pretend(monkeypatch, **modules):
    """Put the client of a cloud in the place of its packages."""
    for name, members in modules.items():
        module = ModuleType(name.replace("__", "."))
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_docs_read_aws(documented, monkeypatch):
    def client(service, **options):
        secrets = {"prod/timestep": '{"openai--api_key": "sk-aws"}'}
        return SimpleNamespace(
            get_secret_value=lambda SecretId: {"SecretString": secrets[SecretId]}  # noqa: N803 - AWS's name
        )

    pretend(
        monkeypatch,
        boto3={"client": client},
        types_boto3_secretsmanager={},  # pydantic-settings 2.14 imports it
        types_boto3_secretsmanager__client={"SecretsManagerClient": object},
    )
    check(documented["AwsSettings"](), "sk-aws", "AWSSecretsManagerSettingsSource")


def test_the_docs_read_azure(documented, monkeypatch):
    def client(vault_url, credential):
        return SimpleNamespace(
            list_properties_of_secrets=lambda: [
                SimpleNamespace(name="openai--api-key", enabled=True)
            ],
            get_secret=lambda name: SimpleNamespace(value=f"sk-{vault_url}"),
        )

    monkeypatch.setenv("AZURE_KEY_VAULT_URL", "azure")
    pretend(
        monkeypatch,
        azure={},
        azure__identity={"DefaultAzureCredential": object},
        azure__core={},
        azure__core__credentials={"TokenCredential": object},
        azure__core__exceptions={"ResourceNotFoundError": LookupError},
        azure__keyvault={},
        azure__keyvault__secrets={"SecretClient": client},
    )
    check(documented["AzureSettings"](), "sk-azure", "AzureKeyVaultSettingsSource")


def test_the_docs_read_google(documented, monkeypatch):
    class Client:
        def __init__(self, credentials):
            pass

        def common_project_path(self, project):
            return project

        def list_secrets(self, parent):
            return [SimpleNamespace(name="openai__api_key")] if parent == "my-project" else []

        def parse_secret_path(self, name):
            return {"secret": name}

        def secret_version_path(self, project, name, version):
            return name

        def access_secret_version(self, name):
            assert name in {"openai__api_key", "openai"}
            if name == "openai":
                raise LookupError(name)
            return SimpleNamespace(payload=SimpleNamespace(data=b"sk-google"))

    pretend(
        monkeypatch,
        google={},
        google__auth={"default": lambda: (None, None)},
        google__auth__credentials={"Credentials": object},
        google__cloud={},
        google__cloud__secretmanager={"SecretManagerServiceClient": Client},
    )
    check(documented["GoogleSettings"](), "sk-google", "GoogleSecretManagerSettingsSource")


def check(settings, key, source):
    assert settings.openai.api_key == SecretStr(key)
    assert str(settings.origin_of("openai.api_key").winner) == source
