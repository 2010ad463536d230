"""Grapheme to phoneme: one file per language, found by its name.

A language's file offers

    normalize(text, symbols) -> str
        What is spoken: numbers and signs written out, marks in ASCII.
    phones(norm_text, symbols, overrides, polyphones=None) -> (phones, word2ph)
        The phones of what `normalize` returned. `overrides` maps the index of a character of norm_text (for languages
        with words: of the first character of a word) to the user's pronunciation. word2ph is the number of phones per
        character for languages with BERT features, else None. polyphones chooses Chinese readings. Raises TextError
        for a pronunciation that it can't read.

`symbols` names the phone table, "v1" or "v2". Heavy packages are imported inside these functions.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from sovits_rt.text.zh.polyphones import PolyphoneModel


class Language(Protocol):
    """What a file in this folder offers."""

    def normalize(self, text: str, symbols: str) -> str: ...

    def phones(
        self, norm_text: str, symbols: str, overrides: Mapping[int, str], polyphones: PolyphoneModel | None = None
    ) -> tuple[list[str], list[int] | None]: ...


@cache
def load(language: str) -> Language:
    """The language's file; the name must be one of `sovits_rt.text.language.SPOKEN`."""
    return cast(Language, import_module(f"{__name__}.{language}"))
