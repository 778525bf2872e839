"""Lists that are written as text. Pure."""


def split_commas(value: object) -> object:
    """Return the parts of text that has commas, without the empty ones; anything else as it is.

    A variable holds nothing but text, so commas are how it lists names and servers.

    Raises:
        ValueError: The text begins as a JSON list does, and is not one.
    """
    if not isinstance(value, str) or "," not in value:
        return value
    if value.lstrip().startswith("["):
        raise ValueError('this begins as a JSON list and is not one; write ["a", "b"], or a, b')
    return [part.strip() for part in value.split(",") if part.strip()]
