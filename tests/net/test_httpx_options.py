"""What a client of httpx reads of an answer."""

import gzip

import httpx
import pytest

from timestep.net.failure_words import httpx_error
from timestep.net.httpx_options import httpx_options
from timestep.net.limits import LONGEST_JSON
from timestep.net.reach import USUAL


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("excess", [0, 1])
async def test_an_answer_is_read_to_its_limit(fake_ollama, pack, excess):
    headers = {"Content-Encoding": "gzip"} if pack is gzip.compress else {}
    body = b" " * (LONGEST_JSON + excess)
    fake_ollama.fail(200, body=pack(body), headers=headers, path="/api/tags")

    async with httpx.AsyncClient(**httpx_options(fake_ollama.url, USUAL)) as client:
        if not excess:
            assert (await client.get(f"{fake_ollama.url}/api/tags")).content == body
            return
        with pytest.raises(httpx.ReadError) as caught:
            await client.get(f"{fake_ollama.url}/api/tags")

    assert str(httpx_error(caught.value, httpx)) == "sent more than 6,291,456 bytes for one answer"
