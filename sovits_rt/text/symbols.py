"""The phone tables: which number a phone has in a checkpoint's text embedding.

data/symbols.txt holds table "v2", one phone per line, the line number is the id; table "v1" is its beginning. The
order is a fact of every published checkpoint (upstream: `GPT_SoVITS/text/symbols.py` and `symbols2.py`).
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from sovits_rt.errors import TextError

UNKNOWN = "UNK"
TABLE_SIZES: Mapping[str, int] = MappingProxyType({"v1": 322, "v2": 732})
PUNCTUATION = frozenset("!?…,.-")
"""The phones that are marks: they shape pauses and intonation, none of them is spoken."""


@cache
def phone_ids(table: str) -> Mapping[str, int]:
    """Phone -> id of table "v1" or "v2". Raises TextError for another name."""
    if table not in TABLE_SIZES:
        raise TextError(f"The symbol table {table!r} is not known; use one of: {', '.join(TABLE_SIZES)}.")
    phones = files("sovits_rt.text").joinpath("data/symbols.txt").read_text(encoding="utf-8").split()
    return MappingProxyType({phone: number for number, phone in enumerate(phones[: TABLE_SIZES[table]])})


def known(phones: Iterable[str], table: str) -> tuple[str, ...]:
    """The phones, with UNK in place of those that the table lacks."""
    ids = phone_ids(table)
    return tuple(phone if phone in ids else UNKNOWN for phone in phones)


def to_ids(phones: Iterable[str], table: str) -> tuple[int, ...]:
    """The phones' ids; every phone must be in the table."""
    ids = phone_ids(table)
    return tuple(ids[phone] for phone in phones)
