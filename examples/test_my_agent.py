"""A test of your own agent, without a model.

python -m pytest examples/test_my_agent.py

The fixture fake_ollama comes with timestep. It is a real server with your answers. The test fails if
the agent asks more, or less, or something that Ollama would refuse.
"""

from agents import Agent, RunConfig, Runner, function_tool

from timestep import OllamaModelProvider


@function_tool
def get_price(product: str) -> int:
    """Get the price of a product in euros."""
    return {"clock": 40, "watch": 250}[product]


seller = Agent(name="Seller", model="llama3.2", tools=[get_price])


def test_the_seller_looks_the_price_up(fake_ollama):
    fake_ollama.reply(tool_calls=[("get_price", {"product": "clock"})])
    fake_ollama.reply("It is 40 euros.")
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    run_config = RunConfig(model_provider=provider, tracing_disabled=True)

    result = Runner.run_sync(seller, "How much is the clock?", run_config=run_config)

    assert result.final_output == "It is 40 euros."
    asked, told = fake_ollama.chats
    assert asked["tools"][0]["function"]["name"] == "get_price"
    assert told["messages"][-1]["content"] == "40"
