"""The model and the provider of the other examples. The configuration chooses both.

Set TIMESTEP_DEFAULT_MODEL to any model of yours (in the environment, in .env or in timestep.toml):
ollama/llama3.2, ollama/gpt-oss:120b-cloud (with OLLAMA_API_KEY), gpt-4.1 (with OPENAI_API_KEY).
"""

from agents import RunConfig

from timestep import MultiModelProvider, Settings

MODEL = Settings().default_model or "ollama/llama3.2"
provider = MultiModelProvider.from_env()

# Without tracing_disabled the SDK sends traces to OpenAI whenever it finds OPENAI_API_KEY.
run_config = RunConfig(model_provider=provider, tracing_disabled=True)
