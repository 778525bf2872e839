"""Requests to Ollama's ``/api/chat``, converted from what the SDK sends. Pure but for `fetch`."""
