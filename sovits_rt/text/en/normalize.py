"""English text as it is spoken: numbers, times, money, units and signs written out in words.

Each rule is one entry of RULES and runs once over the whole text, in that order; the order and the quirks are
upstream's (`GPT_SoVITS/text/en_normalization/expend.py` and `text_normalize` in `GPT_SoVITS/text/english.py`). Among
them: € and curly quotes are dropped, `: ;` vanish without a pause, "1. " at any place is an ordinal, 5km/h is "five
kilometers h".
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from sovits_rt.errors import MissingExtraError, TextError

MAX_NUMBER_CHARACTERS = 2000

_MARKS = str.maketrans({"。": ".", "！": "!", "？": "?"})
# Upstream escapes these two patterns by mistake, so that they stand for their own spelling.
_LITERAL_MARKS = (("[;:：，；]", ","), ('["’]', "'"))
_MARK_RUN = re.compile(r"([!?….,\-\s])[!?….,\-]+")
_ENDLESS_NUMBER = re.compile(rf"[0-9][0-9.,]{{{MAX_NUMBER_CHARACTERS}}}")
_DROPPED = re.compile(r"[^ A-Za-z'.,?!\-]")
_INNER_CAPITAL = re.compile(r"(?<!^)(?<!\s)([A-Z])")

_UNITS = {
    "m": ("meter", "meters"),
    "km": ("kilometer", "kilometers"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "ft": ("feet", "feet"),
    "L": ("liter", "liters"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "h": ("hour", "hours"),
    "min": ("minute", "minutes"),
    "s": ("second", "seconds"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
}
_OPERATORS = {"+": " plus ", "-": " minus ", "×": " times ", "÷": " divided by ", "=": " Equals "}
_POWERS = "[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]*"
_TERM = rf"(?:-?\d++(?:\.\d++)?{_POWERS}|\.\d+{_POWERS}|[A-Za-z]{_POWERS})"
_CALCULATION = re.compile(rf"({_TERM})\s+([+\-×÷=])\s+({_TERM})")


def normalize(text: str) -> str:
    """The spoken form: only letters, blanks and `' . , ? ! -` are left.

    Raises TextError for a number that has no name and for one of more than 2000 characters, which takes too long.
    """
    if _ENDLESS_NUMBER.search(text):
        raise TextError(f"A number of more than {MAX_NUMBER_CHARACTERS} characters is too long; write it in parts.")
    text = text.translate(_MARKS)
    for spelling, mark in _LITERAL_MARKS:
        text = text.replace(spelling, mark)
    text = _speak_calculations(_ORDINAL_ITEM.sub(_ordinal_item, text))
    for pattern, spoken in RULES:
        text = pattern.sub(spoken, text)
    text = "".join(character for character in unicodedata.normalize("NFD", text) if not _is_accent(character))
    text = _DROPPED.sub("", text.replace("%", " percent"))
    text = re.sub(r"i\.e\.", "that is", text, flags=re.IGNORECASE)
    text = re.sub(r"e\.g\.", "for example", text, flags=re.IGNORECASE)
    return _MARK_RUN.sub(r"\1", _INNER_CAPITAL.sub(r" \1", text))


def _is_accent(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def _speak_calculations(text: str) -> str:
    while _CALCULATION.search(text):
        text = _CALCULATION.sub(_calculation, text)
    return text


def _calculation(match: re.Match[str]) -> str:
    left, operator, right = match.groups()
    return left + _OPERATORS[operator] + right


@cache
def _inflect() -> Any:
    try:
        import inflect
    except ImportError as error:
        raise MissingExtraError(
            "English numbers need the package 'inflect', which is not installed: pip install 'sovits-rt[en]'."
        ) from error
    return inflect.engine()


def _in_words(number: int | str, **options: Any) -> str:
    """The number (or ordinal like "22nd") in words. Raises TextError for one too long to have a name."""
    engine = _inflect()
    try:
        return str(engine.number_to_words(number, **options))
    except _too_long() as error:
        raise TextError(f"A number of {_digits(str(number))} digits has no name; write it in words.") from error


def _too_long() -> type[Exception]:
    import inflect

    return cast(type[Exception], inflect.NumOutOfRangeError)


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise TextError(f"A number of {_digits(digits)} digits has no name; write it in words.") from error


def _digits(number: str) -> int:
    return sum(character.isdigit() for character in number)


def _ordinal_item(match: re.Match[str]) -> str:
    _integer(match.group(1))
    return f"{_inflect().ordinal(match.group(1))}, "


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match.group(1)), int(match.group(2))
    half = "a.m." if hour < 12 else "p.m."
    spoken_minute = _in_words(minute) if minute else "o'clock"
    return f"{_in_words(hour - 12 if hour > 12 else hour)} {spoken_minute} {half}"


def _measure(match: re.Match[str]) -> str:
    quantity, decimals, unit = match.groups()
    digits = quantity.removesuffix(unit)
    is_one = decimals is None and _integer(digits) == 1
    return f"{digits} {_UNITS[unit][0 if is_one else 1]}"


def _money(coin: str, coins: str, small: str, smalls: str) -> Callable[[re.Match[str]], str]:
    """Reader of an amount: "3.5" -> "3 dollars and 50 cents"; more than two digits after the point are all cents."""

    def read(match: re.Match[str]) -> str:
        whole, *rest = match.group(1).split(".")
        if len(rest) > 1:
            return f"{match.group(1)} {coins}"
        amounts = (
            (_amount(whole), coin, coins),
            (_amount(rest[0].ljust(2, "0") if rest and rest[0] else ""), small, smalls),
        )
        spoken = [f"{amount} {one if amount == 1 else many}" for amount, one, many in amounts if amount]
        return " and ".join(spoken) or f"zero {coins}"

    return read


def _amount(digits: str) -> int:
    """An amount may begin with signs that are no digits, like the bracket of "(5$)"; upstream fails on them."""
    digits = re.sub("[^0-9]", "", digits)
    return _integer(digits) if digits else 0


def _decimal(match: re.Match[str]) -> str:
    whole, decimals = match.group(1).split(".")
    return f"{whole} point {' '.join(decimals)}"


def _fraction(match: re.Match[str]) -> str:
    above, below = (_integer(number) for number in match.group().split("/"))
    if below == 1:
        return _in_words(above)
    if below == 2:
        return f"{_in_words(above)} {'half' if above == 1 else 'halves'}"
    return f"{_in_words(above)} {_inflect().ordinal(_in_words(below))}{'s' if above > 1 else ''}"


def _ordinal(match: re.Match[str]) -> str:
    _integer(match.group(1))
    return _in_words(match.group())


def _number(match: re.Match[str]) -> str:
    """Numbers from 1001 to 2999 are read like years."""
    number = _integer(match.group())
    if not 1000 < number < 3000:
        return _in_words(number, andword="")
    if number == 2000:
        return "two thousand"
    if 2000 < number < 2010:
        return f"two thousand {_in_words(number % 100)}"
    if number % 100 == 0:
        return f"{_in_words(number // 100)} hundred"
    return _in_words(number, andword="", zero="oh", group=2).replace(", ", " ")


_ORDINAL_ITEM = re.compile(r"\b([0-9]+)\. ")
_POUNDS = _money("pound", "pounds", "penny", "pence")
_DOLLARS = _money("dollar", "dollars", "cent", "cents")

RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"(?:^|(?<!\s)\s+)-(\d+)"), lambda match: f"negative {match.group(1)}"),
    (re.compile(r"([0-9][0-9,]+[0-9])"), lambda match: match.group().replace(",", "")),
    (re.compile(r"\b([01]?[0-9]|2[0-3]):([0-5][0-9])\b"), _time),
    (re.compile(r"\b([0-9]+(\.[0-9]+)?(m|km|km/h|ft|L|tbsp|tsp|h|min|s|°C|°F))\b"), _measure),
    (re.compile(r"£([0-9.,]*[0-9])"), _POUNDS),
    (re.compile(r"([0-9.,]*[0-9])£"), _POUNDS),
    (re.compile(r"\$([0-9.,]*[0-9])"), _DOLLARS),
    (re.compile(r"([(0-9.,]*[0-9])\$"), _DOLLARS),
    (re.compile(r"([0-9]+\.\s*[0-9]+)"), _decimal),
    (re.compile(r"[0-9]+/[0-9]+"), _fraction),
    (re.compile(r"([0-9]+)(?:st|nd|rd|th)"), _ordinal),
    (re.compile(r"[0-9]+"), _number),
)
"""(what to find, how it is spoken), in the order in which they run."""
