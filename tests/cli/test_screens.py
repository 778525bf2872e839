"""How ``run`` and ``chat`` look in a terminal, narrow and wide, and that nothing breaks them."""

import re
from pathlib import Path

import pytest

from tests.cli.emulator import seen
from timestep.testing import Stall

MODEL = ("--model", "ollama/llama3.2")
AGENT = '''
from agents import Agent, function_tool


@function_tool
def get_weather(city: str) -> str:
    """Get today's weather in a city."""
    return f"-3 C and snow in {city}, with more snow towards the evening and some wind"


advisor = Agent("Advisor", tools=[get_weather], model="ollama/llama3.2")
desk = Agent("Desk", handoffs=[advisor], model="ollama/llama3.2")
'''
ANSWER = """\
# Oslo

Take a **warm** coat, a `hat`, and read [the forecast](https://yr.example/oslo) before you leave.

1. coat 🧥
2. boots

```python
pack("coat", "boots", "a hat", "gloves", "and the other things that you need")
```

| item | why |
|---|---|
| coat | it is cold, and there is a wind from the north |

שלום עולם
"""
NARROW = """\
Oslo in winter is cold, so the list begins with a coat and
boots.

tool     get_weather(city="Oslo")
result   -3 C and snow in Oslo, with more snow towards the
         evening and some wind

Oslo

Take a warm coat, a hat, and read the forecast
(https://yr.example/oslo) before you leave.

1. coat 🧥
2. boots

```python
pack("coat", "boots", "a hat", "gloves", "and the other things that you need")
```

 item  why
 ────────────────────────────────────────────────────
 coat  it is cold, and there is a wind from the north

שלום עולם

52 tokens in, N out, N tokens/s, load 14 ms, first token N
"""
WIDE = """\
Oslo in winter is cold, so the list begins with a coat and boots.

tool     get_weather(city="Oslo")
result   -3 C and snow in Oslo, with more snow towards the evening and some wind

Oslo

Take a warm coat, a hat, and read the forecast (https://yr.example/oslo) before you leave.

1. coat 🧥
2. boots

```python
pack("coat", "boots", "a hat", "gloves", "and the other things that you need")
```

 item  why
 ────────────────────────────────────────────────────
 coat  it is cold, and there is a wind from the north

שלום עולם

52 tokens in, N out, N tokens/s, load 14 ms, first token N
"""


@pytest.fixture(autouse=True)
def agents(configured):
    Path("desk.py").write_text(AGENT)


def steady(shown):
    """What is shown, but for what differs from run to run."""
    shown = re.sub(r"first\stoken [\d.]+ m?s", "first token N", shown)
    return re.sub(r"\d+ out, [\d.,]+ tokens/s", "N out, N tokens/s", shown)


def queue_an_answer(fake_ollama):
    fake_ollama.reply(
        thinking="Oslo in winter is cold, so the list begins with a coat and boots.",
        tool_calls=[("get_weather", {"city": "Oslo"})],
    )
    fake_ollama.reply(ANSWER)


@pytest.mark.parametrize(("columns", "expected"), [(60, NARROW), (120, WIDE)])
def test_an_answer_looks_like_this(on_screen, fake_ollama, columns, expected):
    queue_an_answer(fake_ollama)

    shown, code = on_screen(columns, "run", "What do I pack?", "--agent", "desk.py:advisor")

    assert (steady(shown), code) == (expected, 0)


def test_no_color_turns_off_colours_and_not_markdown(on_screen, fake_ollama):
    queue_an_answer(fake_ollama)

    arguments = ("run", "What do I pack?", "--agent", "desk.py:advisor")
    shown, _ = on_screen(60, *arguments, raw=True, NO_COLOR="1")

    assert not re.search(r"\x1b\[[\d;]*3\d[;m]", shown)  # the colours
    assert steady(seen(shown)) == NARROW


def test_a_dumb_terminal_gets_the_answer_as_the_model_wrote_it(on_screen, fake_ollama):
    fake_ollama.reply(ANSWER, thinking="Cold.")

    shown, _ = on_screen(60, "run", "Hi", *MODEL, raw=True, TERM="dumb")

    assert "\x1b" not in shown
    assert shown.replace("\r", "").startswith(f"Cold.\n\n{ANSWER}\n26 tokens in")


def test_a_conversation_looks_like_this(typing, fake_ollama, tmp_path):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It **snows**.")
    fake_ollama.reply("You are welcome.")

    shown, code = typing(
        60,
        *("chat", "--agent", "desk.py:advisor", "--approve"),
        lines=["Weather?", "?", "y", "Thank you \\", "very much.", "/undo", "/sav x", "/quit"],
    )

    assert code == 0
    assert steady(shown) == (
        "ollama/llama3.2. /help shows the commands; Ctrl-D leaves.\n"
        "> Weather?\n"
        'tool     get_weather(city="Oslo")\n'
        'Run get_weather(city="Oslo")? [y]es, [n]o, [a]lways: ?\n'
        'Run get_weather(city="Oslo")? [y]es, [n]o, [a]lways: y\n'
        "result   -3 C and snow in Oslo, with more snow towards the\n"
        "         evening and some wind\n"
        "\n"
        "It snows.\n"
        "\n"
        "52 tokens in, N out, N tokens/s, load 14 ms, first token N\n"
        "\n"
        "> Thank you \\\n"
        ". very much.\n"
        "You are welcome.\n"
        "\n"
        "26 tokens in, N out, N tokens/s, load 7 ms, first token N\n"
        "\n"
        "> /undo\n"
        "Taken back: Thank you very much.\n"
        "> /sav x\n"
        "There is no /sav. Did you mean /save?\n"
        "> /quit\n"
    )
    history = tmp_path / "data" / "timestep" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    # What approves a call is nothing to call back.
    assert history.read_text().splitlines()[-6:] == [
        "Weather?",
        "Thank you \\",
        "very much.",
        "/undo",
        "/sav x",
        "/quit",
    ]


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(typing, fake_ollama):
    fake_ollama.reply("one two three", fault=Stall(after=2))
    fake_ollama.reply("four")

    shown, code = typing(60, "chat", *MODEL, lines=["count", "go on"], at=b"one", types=b"\x03")

    assert code == 0
    assert "\nStopped.\n> go on\nfour\n" in shown
    assert fake_ollama.disconnects
    question, answer, again = fake_ollama.chats[1]["messages"]
    assert (question["content"], again["content"]) == ("count", "go on")
    assert answer["content"].startswith("one")


def test_the_figures_can_be_left_out(on_screen, fake_ollama):
    fake_ollama.reply("ok")

    assert on_screen(80, "run", "Hi", *MODEL, "--no-stats") == ("ok\n", 0)


def test_something_moves_while_a_model_is_waited_for(typing, fake_ollama):
    fake_ollama.reply("late", fault=Stall())

    waits = b"waiting for ollama/llama3.2, "
    shown, code = typing(80, "run", "Hi", *MODEL, at=waits, types=b"\x03")

    assert (shown, code) == ("\n", 130)  # nothing of it is left


def test_a_resumed_conversation_shows_its_last_exchange(typing, fake_ollama):
    fake_ollama.reply("It snows.")
    lines = ["Weather?", "/quit"]
    typing(80, "chat", *MODEL, "--session", "ann", "--no-stats", lines=lines)

    shown, code = typing(80, "chat", *MODEL, "--session", "ann")

    assert code == 0
    assert shown == (
        "ollama/llama3.2. /help shows the commands; Ctrl-D leaves.\n"
        "The conversation has 1 message so far.\n"
        "> Weather?\n"
        "It snows.\n"
        "\n"
        "> \n\n"
    )


def test_an_error_is_wrapped_at_words_and_has_a_colour(on_screen):
    shown, code = on_screen(60, "run", "Hi", "--model", "olama/llama3.2", raw=True)

    assert code == 1
    assert shown.startswith("\x1b[31m\x1b[1mError:\x1b[0m Unknown prefix: olama.")
    assert max(map(len, seen(shown).splitlines())) <= 60
    assert " ".join(seen(shown).split()).endswith("adds another server.")
