"""The errors of a trace store. Reading a store needs no SDK, so they are not in timestep's tree."""


class StoreError(Exception):
    """The file cannot be used as a trace store; the message says what to do."""


class UnknownTraceError(StoreError):
    """An id names no recorded run, or more than one."""
