"""Every command under a proxy variable that cannot be used, each in a process of its own.

The SDK and the package ollama read such a variable as soon as they are used or imported.
"""

import re

import pytest

REMOTE = "http://gpu.invalid:11434"


@pytest.fixture
def under(start, fake_ollama):
    """Run a command with *value* in all three variables; its exit code and what it wrote."""

    def run(value, *arguments, url=REMOTE):
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        process = start(*arguments, OLLAMA_BASE_URL=url, **dict.fromkeys(names, value))
        stdout, stderr = process.communicate()
        assert "Traceback" not in stderr
        assert "secret" not in stdout + stderr
        return process.returncode, stdout, stderr

    return run


@pytest.mark.parametrize("value", ["http://secret:port", "socks4://secret:1", "ftp://secret"])
def test_a_model_on_this_machine_answers_whatever_the_proxy_is(under, fake_ollama, value):
    fake_ollama.reply("It is sunny.")

    code, stdout, _ = under(value, "run", "Hi", "-m", "ollama/m", url=fake_ollama.url)

    assert (code, stdout) == (0, "It is sunny.\n")


@pytest.mark.parametrize("command", ["run Hi -m ollama/m", "pull m", "models", "doctor"])
@pytest.mark.parametrize("lab", ["ollama", "openai"])
def test_a_dead_proxy_is_named(under, command, lab, monkeypatch):
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", lab)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", "http://lab.invalid")

    code, stdout, stderr = under("http://me:secret@127.0.0.1:9", *command.split())

    assert code == 1
    said = " ".join((stdout + stderr).split())
    hosts = [REMOTE, "http://lab.invalid"] if command in {"models", "doctor"} else [REMOTE]
    for host in hosts:
        assert re.search(
            rf"Cannot reach {host}: connection refused \(through the proxy that \w+ names\)\. "
            "Check the proxy, or list the server in NO_PROXY",
            said,
        )


@pytest.mark.parametrize("command", ["run Hi -m ollama/m", "pull m", "models", "doctor"])
@pytest.mark.parametrize("value", ["http://secret:port", "http://secret\x01:9"])
def test_a_model_elsewhere_names_the_variable(under, command, value):
    code, stdout, stderr = under(value, *command.split())

    assert code == 1
    said = " ".join((stdout + stderr).split())
    assert "HTTP_PROXY" in said
    assert "Write a URL such as http://proxy.example:3128, or unset it." in said
