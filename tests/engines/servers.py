"""How the engines' tests reach what listens on this machine."""

import json
import socket
import time
import urllib.request
from urllib.error import HTTPError

SOON = 120


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def post(url, body):
    """The status and the JSON that *url* answers."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


def wait_for(what, is_there):
    end = time.monotonic() + SOON
    while not is_there():
        assert time.monotonic() < end, f"{what} does not listen"
        time.sleep(0.1)


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
