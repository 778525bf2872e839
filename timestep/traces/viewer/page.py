"""The page's parts, and a whole run as one HTML file. Pure but for reading its own files."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from timestep.traces.text import json_text

_SCRIPTS = (
    "dom.js",
    "address.js",
    "source.js",
    "markdown.js",
    "conversation.js",
    "waterfall.js",
    "raw.js",
    "run.js",
    "diff.js",
    "list.js",
    "stats.js",
    "keys.js",
    "app.js",
)
_STATIC = files("timestep.traces.viewer") / "static"


@cache
def index() -> str:
    """The page."""
    return (_STATIC / "index.html").read_text("utf-8")


@cache
def style() -> str:
    """Its style sheet."""
    return (_STATIC / "style.css").read_text("utf-8")


@cache
def script() -> str:
    """Its script: the files in their order, in a scope of their own."""
    parts = [(_STATIC / name).read_text("utf-8") for name in _SCRIPTS]
    return "(() => {\n" + "\n".join(parts) + "\n})();\n"


def run_page(run: dict[str, Any], bodies: dict[str, Any]) -> str:
    """One run as a file that needs nothing else.

    The policy in it allows only this page's own script and style, by their hashes: what a model
    wrote cannot run, even if it escaped from the data.
    """
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src '{_hash(script())}'; style-src '{_hash(style())}'"
    )
    data = json_text({"run": run, "bodies": bodies}, ensure_ascii=True)
    # "</script>" and "<!--" would end or change the element that holds the data.
    data = data.replace("<", "\\u003c")
    return (
        index()
        .replace(
            '<meta charset="utf-8">',
            f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        )
        .replace('<link rel="stylesheet" href="style.css">', f"<style>{style()}</style>")
        .replace(
            '<script src="app.js"></script>',
            f'<script type="application/json" id="run">{data}</script>\n'
            f"<script>{script()}</script>",
        )
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
