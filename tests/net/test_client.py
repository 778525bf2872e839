"""The connections to one server, in one event loop after another."""

import asyncio

from timestep.net.client import Client


class Nothing:
    """Connections that open nothing, so that nothing has to be closed."""

    async def aclose(self):
        pass


def test_a_loop_that_was_just_closed_is_forgotten():
    client = Client("http://gpu", None, opener=lambda base_url, connect_timeout: Nothing())

    async def connect():
        client.connections()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(connect())
    loop.close()
    assert list(client._per_loop._opened) == [loop]

    asyncio.run(connect())

    assert list(client._per_loop._opened) == []
