"""A tool and an answer with a type, in one agent.

python examples/structured_output.py
"""

from agents import Agent, Runner, function_tool
from providers import MODEL, run_config
from pydantic import BaseModel


class Forecast(BaseModel):
    city: str
    degrees: int
    take: list[str]


@function_tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"-3 degrees and snow in {city}"


agent = Agent(
    name="Forecaster",
    instructions="Look the weather up, then say what to take along.",
    model=MODEL,
    tools=[get_weather],
    output_type=Forecast,
)
result = Runner.run_sync(agent, "I am going to Oslo.", run_config=run_config)
forecast = result.final_output_as(Forecast)
print(f"{forecast.city}, {forecast.degrees} degrees: {', '.join(forecast.take)}")
