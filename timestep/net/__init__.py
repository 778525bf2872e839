"""Shared by every wire: addresses, secrets, HTTP requests, connections per event loop."""
