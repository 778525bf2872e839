import base64
import builtins
import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.errors import UnsupportedInputError
from timestep.ollama.request.content import image_to_base64, is_remote, read_content
from timestep.testing.checks import check_chat

PNG = b"\x89PNG\r\n\x1a\n\xfb\xff\x00"
STANDARD = base64.b64encode(PNG).decode()


def image(source, fetched=None):
    return image_to_base64(source, where="input[0].content[1]", fetched=fetched or {})


@pytest.mark.parametrize(
    "source",
    [
        f"data:image/png;base64,{STANDARD}",
        f"DATA:Image/PNG;BASE64,{STANDARD}",
        f"data:;base64,{STANDARD}",
        f"data:image/png;name=a.png;base64,{STANDARD}",
        f"data:application/octet-stream;base64,{STANDARD}",
        f"data:image/png;base64,{STANDARD.replace('+', '%2B').replace('/', '%2f')}",
        STANDARD,
        STANDARD.rstrip("="),
        STANDARD.replace("+", "-").replace("/", "_"),
        "\n".join(STANDARD) + " ",
    ],
)
def test_every_spelling_of_the_bytes_becomes_standard_base64(source):
    assert image(source) == STANDARD


@given(st.binary(min_size=1), st.booleans(), st.booleans())
def test_bytes_arrive_whole_as_the_server_wants_them(data, is_url_safe, is_padded):
    encode = base64.urlsafe_b64encode if is_url_safe else base64.b64encode
    text = encode(data).decode()

    sent = image(text if is_padded else text.rstrip("="))

    assert base64.b64decode(sent, validate=True) == data
    check_chat(
        json.dumps({"model": "m", "messages": [{"role": "user", "images": [sent]}]}).encode()
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "is empty"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64", "without base64"),
        ("data:image/png,hello", "without base64"),
        ("data:text/plain;base64,aGk=", "text/plain"),
        ("data:application/pdf;base64,aGk=", "application/pdf"),
        ("data:image/png;base64,a", "damaged"),
        ("data:image/png;base64,%zz", "damaged"),
        ("data:image/png;base64,ab==cd==", "damaged"),
        ("data:image/png;base64,é", "damaged"),
        ("data:image/png;base64,\ud800", "damaged"),
        ("photo.png", "a file is never read"),
        ("/etc/hostname", "a file is never read"),
        ("./photo.jpg", "a file is never read"),
        ("C:\\photo.jpg", "a file is never read"),
        ("file:///etc/hostname", "a file is never read"),
        ("ftp://example.com/a.png", "a file is never read"),
        ("ü", "a file is never read"),
        ("http://example.com/a.png", "allow_remote_images"),
        ("HTTPS://example.com/a.png", "allow_remote_images"),
    ],
)
def test_what_holds_no_image_is_refused_with_its_place(source, reason):
    with pytest.raises(UnsupportedInputError, match=r"input\[0\]\.content\[1\]") as refused:
        image(source)

    assert reason in str(refused.value)


@given(st.text())
def test_any_text_is_base64_or_refused(source):
    with contextlib.suppress(UnsupportedInputError):
        base64.b64decode(image(source), validate=True)


def test_a_string_that_names_a_file_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("TOP SECRET")

    def opened(*args, **keywords):
        raise AssertionError(f"opened {args}")

    for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "stat")):
        monkeypatch.setattr(module, name, opened)
    # Letters alone are base64 too: then they are bytes, and still no path.
    bare, path = image("secret++"), refused_image(str(tmp_path / "secret.png"))
    monkeypatch.undo()

    assert base64.b64decode(bare) == base64.b64decode("secret++")
    assert "a file is never read" in path


def refused_image(source):
    try:
        return image(source)
    except UnsupportedInputError as error:
        return str(error)


def test_a_fetched_url_is_its_bytes():
    assert image("https://example.com/a", {"https://example.com/a": PNG}) == STANDARD
    with pytest.raises(UnsupportedInputError):
        image("https://example.com/b", {"https://example.com/a": PNG})


def test_audio_is_base64_alone():
    def audio(data):
        part = {"type": "input_audio", "input_audio": {"data": data}}
        return read_content([part], 0, "content", {})

    assert audio(STANDARD) == ("", [("audio", STANDARD)])
    for wrong in ("", "data:audio/wav;base64,aGk=", "https://example.com/a.wav"):
        with pytest.raises(UnsupportedInputError, match=r"input\[0\]\.content\[0\]"):
            audio(wrong)


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("http://a", True),
        ("https://a", True),
        ("HtTpS://a", True),
        ("http:/a", False),
        ("httpss://a", False),
        (" http://a", False),
        ("data:image/png;base64,aHR0cDovLw==", False),
        ("", False),
    ],
)
def test_only_http_is_remote(source, remote):
    assert is_remote(source) is remote
