"""A key is in nothing that a program shows or keeps, whatever goes wrong."""

import logging
import pickle
import string
import tempfile
import traceback
from pathlib import Path

from agents import Agent, RunConfig, Runner, set_trace_processors
from agents.tracing import add_trace_processor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.spans import Spans
from timestep import MultiModelProvider, Settings, configured_keys
from timestep.testing import Close, ErrorLine, FakeOllama, Reset
from timestep.traces import install, uninstall

KEYS = st.text(string.ascii_letters + string.digits + "-_.~+/=!$", min_size=12, max_size=60)
NOBODY = "http://127.0.0.1:9"
SHAPES = ["one server", "pool", "chain"]
WAYS = ["answered", "error line", "refused", "401", "500", "reset", "closed", "redirect"]


class Shown(Spans):
    """What the start of a trace and the end of a span show."""

    def __init__(self):
        super().__init__(
            lambda span: repr(span.export()),
            only=lambda span: span.error or span.span_data.type != "generation",
        )

    def on_trace_start(self, trace):
        self.ended.append(repr(trace.export()))


def script(fake, way, key):
    """Let *fake* fail in this *way*, and repeat the key where it can."""
    match way:
        case "answered":
            fake.reply("hello")
        case "error line":
            fake.reply("one two", fault=ErrorLine(f"the key {key} is bad", after=1))
        case "refused":
            fake.refuse()
        case "reset":
            fake.reply("one two", fault=Reset(after=1))
        case "closed":
            fake.reply("one two", fault=Close(after=1))
        case "redirect":
            fake.redirect(f"https://elsewhere.example/?key={key}")
        case status:
            fake.fail(int(status), f"Bearer {key} is wrong", headers={"X-Key": key})


class Log(logging.Handler):
    def __init__(self, lines):
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record):
        self.lines.append(self.format(record))


def frames(report):
    """The frames of a crash report and of the causes in it, with their variables."""
    while report is not None:
        yield from report.stack
        report = report.__cause__ or report.__context__


async def everything_shown(key, way, file, shape):
    """All that a run with *key* shows, logs, raises and keeps."""
    shown, spans = [], Shown()
    log = Log(shown)
    logging.getLogger().addHandler(log)
    with FakeOllama() as fake:
        script(fake, way, key)
        configured = Settings(
            ollama={
                "base_url": [fake.url, NOBODY] if shape == "pool" else fake.url,
                "api_key": key,
            },
            aliases={"x": ["ollama/m", "down/m"] if shape == "chain" else "ollama/m"},
            openai={"api_key": key},
            providers={
                "lab": {"kind": "openai", "base_url": "https://lab/v1", "api_key": key},
                "down": {"kind": "ollama", "base_url": NOBODY, "api_key": key},
            },
        )
        provider = MultiModelProvider.from_settings(configured)
        install(file, secrets=configured_keys(configured))
        add_trace_processor(spans)
        shown += [repr(configured), str(configured), configured.model_dump_json(), repr(provider)]
        try:
            agent = Agent("a", model="x")
            await Runner.run(agent, "hi", run_config=RunConfig(model_provider=provider))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked into
            report = traceback.TracebackException.from_exception(error, capture_locals=True)
            # The frames of the test and of the SDK hold what the test itself put there.
            ours = [f for f in frames(report) if "/timestep/" in f.filename]
            shown += [repr(error), str(error), repr(vars(error)), *map(str, ours)]
            shown += [repr(f.locals) for f in ours]
            shown.append(pickle.dumps(str(error)).decode("latin-1"))
        finally:
            uninstall()
            set_trace_processors([])
            await provider.aclose()
            logging.getLogger().removeHandler(log)
    kept = [path.read_bytes().decode("latin-1") for path in Path(file).parent.iterdir()]
    return [*shown, *spans.ended, *kept]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS, way=st.sampled_from(WAYS), shape=st.sampled_from(SHAPES))
@example(key="sk-0123456789abcdef", way="error line", shape="one server")
@example(key="sk-0123456789abcdef", way="500", shape="chain")
@example(key="sk-0123456789abcdef", way="refused", shape="pool")
@example(key="sk-0123456789abcdef", way="500", shape="pool")
async def test_a_key_is_in_nothing_that_is_shown_or_kept(key, way, shape):
    with tempfile.TemporaryDirectory() as directory:
        found = await everything_shown(key, way, Path(directory) / "traces.db", shape)

    assert len(found) > 8
    assert not [text for text in found if key in text]
