"""What docs/cli.md shows of ``run`` and ``chat`` is what a terminal of 80 columns shows."""

import json
import re
import shlex
from pathlib import Path

import pytest

from timestep.testing import Reply

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
BLOCKS = re.findall(
    r"^```console\n\$ timestep ((?:run|chat) .*?)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)
[AGENT] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
CALL = [("get_weather", {"city": "Oslo"})]
REPLIES = {
    "desk": [
        Reply(tool_calls=[("transfer_to_advisor", {})]),
        Reply(thinking="The user asks about Oslo. I need the weather first.", tool_calls=CALL),
        Reply("Dress for the cold:\n\n* a **warm** coat\n* boots"),
    ],
    "schema": [Reply('{"city": "Oslo", "items": ["coat", "boots"]}')],
    "chat": [
        Reply(tool_calls=CALL),
        Reply("A **warm** coat and boots."),
        Reply("The same, and a second pair of gloves."),
    ],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "items": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "items"],
}


def without_figures(text):
    return re.sub(r"^[\d,]+ tokens in.*$", "costs", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("block", "replies"), [*zip(BLOCKS, REPLIES.values(), strict=True)], ids=REPLIES
)
def test_a_transcript_is_true(block, replies, on_screen, typing, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/llama3.2")
    Path("desk.py").write_text(AGENT)
    Path("packing.json").write_text(json.dumps(SCHEMA))
    for reply in replies:
        fake_ollama.reply(reply)
    command, expected = block
    typed = re.findall(r"^(?:> |\. |.*ways: )(.*)$", expected, re.MULTILINE)

    if typed:
        shown, code = typing(80, *shlex.split(command), lines=typed)
    else:
        shown, code = on_screen(80, *shlex.split(command))

    assert code == 0
    assert without_figures(shown) == without_figures(expected)
