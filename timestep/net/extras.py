"""Says how to install the optional packages."""


def install_command(extra: str) -> str:
    """Return the command that adds *extra*.

    It works in a clone. The name ``timestep`` on the package index is another project.
    """
    return f"pip install '.[{extra}]'"


def install_hint(extra: str) -> str:
    """Return a sentence with the command that adds *extra*."""
    return f"In your clone of timestep, run: {install_command(extra)}"
