"""A key that a command prints, as for tokens that expire."""

import asyncio
import subprocess
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from timestep.net.forks import forget_in_children
from timestep.net.headers import check_key


class KeyCommand:
    """Runs a command for a key when one is needed, and keeps the key until a server refuses it.

    Args:
        command: The program and its arguments; no shell reads them. What it prints is the key.
        seconds: How long it may take.
    """

    def __init__(self, command: Sequence[str], seconds: float = 30) -> None:
        if isinstance(command, str) or not command or not all(map(_is_text, command)):
            from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

            raise ConfigurationError(
                'api_key_command is a list of the program and its arguments, as in ["pass", "show", "key"].'
            )
        self._command = tuple(command)
        self._seconds = seconds
        self._key: str | None = None
        self._problem = ""  # of the latest run
        self._runs = 0
        # The last eight keys, to mask them in logs and errors.
        self.printed: deque[str] = deque(maxlen=8)
        self._thread = _one_thread()
        forget_in_children(self)

    def __repr__(self) -> str:
        """Show the program alone: an argument may be secret."""
        return f"KeyCommand({self._command[0]!r}, …)"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy runs the command itself."""
        return KeyCommand, (self._command, self._seconds)

    def forget_connections(self) -> None:
        """Start over in a forked process, which has none of its parent's threads."""
        self._thread = _one_thread()

    async def key(self) -> str:
        """Return the key.

        Raises:
            ConfigurationError: The command cannot be run, fails, takes too long or prints no key.
        """
        if (key := self._key) is not None:
            return key
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._once, self._runs)

    def forget(self, key: str) -> None:
        """Run the command again for the next request, because a server refused *key*."""
        if self._key == key:
            self._key = None

    def _once(self, seen: int) -> str:
        # One at a time: those who wait take what the first one gets, a failure too.
        if self._key is None and (self._runs == seen or not self._problem):
            self._key, self._problem = self._run()
            self._runs += 1
        if (key := self._key) is not None:
            if key not in self.printed:
                self.printed.append(key)
            return key
        from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

        raise ConfigurationError(
            f"api_key_command: {self._command[0]!r} {self._problem}. Run it in a terminal to see "
            "what it says."
        )

    def _run(self) -> tuple[str | None, str]:
        """Return the key, or None and the reason."""
        try:
            done = subprocess.run(  # noqa: S603 - a setting names it
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:  # it holds what was printed
            return None, f"took longer than {self._seconds:g} s"
        except (OSError, ValueError) as exc:
            return None, f"cannot be run ({type(exc).__name__})"
        if done.returncode:
            return None, f"ended with status {done.returncode}"
        with suppress(ValueError):
            if key := check_key(done.stdout.decode()):
                return key, ""
        return None, "printed nothing that can be a key"


def _one_thread() -> ThreadPoolExecutor:
    """Return a thread of the command's own: those of asyncio are few, and look up host names too."""
    return ThreadPoolExecutor(1, "api_key_command")


def _is_text(part: object) -> bool:
    return isinstance(part, str) and bool(part)
