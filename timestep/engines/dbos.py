"""DBOS: when the SDK asks a model again.

``DBOSRunner`` replaces the provider of a run and hides what a model says about retries. So give the
agent the model itself, and this policy:

    Agent(
        name="Assistant",
        model=provider.get_model("ollama/qwen3:4b"),
        model_settings=ModelSettings(
            retry=ModelRetrySettings(max_retries=5, policy=retry_policy),
        ),
    )

Each attempt is a step of the workflow, so a recovered workflow does not repeat a finished one.
"""

from agents import RetryDecision, RetryPolicyContext

from timestep.engines.attempts import failure_of


def retry_policy(context: RetryPolicyContext) -> RetryDecision:
    """Return whether and when the SDK asks again, as `timestep.errors.meaning` says."""
    failure = failure_of(context.error)
    if failure is None or not failure.passes:
        return RetryDecision(retry=False)
    return RetryDecision(retry=True, delay=failure.wait, reason=failure.name)
