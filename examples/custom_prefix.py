"""A prefix of your own: a second Ollama server, with settings of its own, as lab/NAME.

In a configuration the same is:

    [providers.lab]
    kind = "ollama"
    base_url = "http://gpu.lab:11434"
    keep_alive = "1h"
"""

import os

from agents import Agent, RunConfig, Runner

from timestep import MultiModelProvider, MultiModelProviderMap, OllamaModelProvider

lab = OllamaModelProvider(
    base_url=os.environ.get("OLLAMA_BASE_URL", "http://localhost:11434"),
    keep_alive="1h",
    timeout={"connect": 5, "first_byte": 300, "idle": 60},
)
provider_map = MultiModelProviderMap()
provider_map.add_provider("lab", lab)
run_config = RunConfig(
    model_provider=MultiModelProvider(provider_map=provider_map), tracing_disabled=True
)

agent = Agent(name="Assistant", model="lab/llama3.2")
print(Runner.run_sync(agent, "Say hello.", run_config=run_config).final_output)
