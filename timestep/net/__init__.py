"""What every wire needs: addresses, secrets, HTTP requests, connections per event loop."""
