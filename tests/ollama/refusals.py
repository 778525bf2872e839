"""What a server refuses a request with, as an error."""

import json

from timestep.net.origin import Origin
from timestep.ollama.server_errors import status_error


def refusal(status, body, headers=None, *, model="m", secrets=()):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    origin = Origin(model, "http://localhost:11434", secrets)
    return status_error(status, headers or {}, body, origin)
