"""What both wires say of an exchange that failed."""

import pytest

from timestep.net.origin import Origin
from timestep.ollama.wire_errors import OllamaWireErrors
from timestep.openai.wire_errors import OpenAIWireErrors

WIRES = [OllamaWireErrors, OpenAIWireErrors]
PROXY = "through the proxy that HTTP_PROXY names"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("phase", "seconds", "through", "said"),
    [
        ("connect", 5.0, "", "No connection to http://h within 5 s. Is the server running"),
        ("connect", 0.5, PROXY, f"No connection to http://h within 0.5 s ({PROXY}). Check the pro"),
        ("connect", None, "", "No connection to http://h. "),
        ("first_byte", 600.0, "", "http://h did not begin its answer within 600 s. "),
        ("idle", 300.0, "", "http://h fell silent in the middle of its answer for 300 s. "),
        ("idle", None, "", "http://h fell silent in the middle of its answer. "),
    ],
)
def test_silence_is_said_in_the_same_words(wire, phase, seconds, through, said):
    error = wire(Origin("m", "http://h")).silent(phase, seconds, through=through)

    assert str(error).startswith(said)
    assert (error.phase, error.seconds, error.model, error.host) == (
        phase,
        seconds,
        "m",
        "http://h",
    )
