"""An agent that hands over to specialists.

python examples/handoffs.py "Hola, ¿qué tal?"
"""

import sys

from agents import Agent, Runner
from providers import MODEL, run_config

spanish = Agent(name="Spanish", instructions="Answer in Spanish.", model=MODEL)
english = Agent(name="English", instructions="Answer in English.", model=MODEL)
triage = Agent(
    name="Triage",
    instructions="Hand over to the agent who speaks the language of the message.",
    model=MODEL,
    handoffs=[spanish, english],
)

message = sys.argv[1] if len(sys.argv) > 1 else "Hola, ¿cómo estás?"
result = Runner.run_sync(triage, message, run_config=run_config)
print(f"{result.last_agent.name}: {result.final_output}")
