"""How names and values from a file of unknown origin appear in a sentence: short, quoted, one line."""

from collections.abc import Collection


def quoted(text: str, limit: int = 80) -> str:
    """text between quotes, with control characters escaped and at most `limit` characters of it."""
    return ascii(text if len(text) <= limit else text[: limit - 3] + "...").replace('"', "'")


def some(names: Collection[str], shown: int = 3) -> str:
    """The first few names and how many more there are: "'a', 'b', 'c' and 4 more"."""
    listed = ", ".join(quoted(name) for name in list(names)[:shown])
    rest = len(names) - shown
    return f"{listed} and {rest} more" if rest > 0 else listed
