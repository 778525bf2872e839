"""The message for an Ollama server that cannot be reached. Pure; unlike errors, it needs no SDK."""

from timestep.net.connection import CHECK_PROXY
from timestep.net.urls import is_ollama_cloud


def unreached(host: str, reason: str, *, is_proxied: bool = False) -> str:
    """Return what happened and the next step."""
    if is_proxied:
        return f"Cannot reach {host}: {reason}. {CHECK_PROXY}"
    if is_ollama_cloud(host):
        return f"Cannot reach {host}: {reason}. Check the network."
    return (
        f"Cannot reach Ollama at {host}: {reason}. Start it with 'ollama serve', or say "
        "where it runs: OLLAMA_HOST in the environment (for from_env() and commands), or base_url."
    )
