"""Dates and times of day read aloud.

Follows zh_normalization/chronology.py, with its quirk that a range whose start is at half past says 半 for the minutes
of its end, too.
"""

import re

from sovits_rt.text.zh.numbers import cardinal, spell

_CLOCK = r"([0-1]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
TIME = re.compile(_CLOCK)
TIME_RANGE = re.compile(f"{_CLOCK}[~-]{_CLOCK}")
# 2024年5月6日, 24年, 2024年5月
DATE = re.compile(r"(\d{4}|\d{2})年(?:(0?[1-9]|1[0-2])月)?(?:(0?[1-9]|[12][0-9]|30|31)([日号]))?")
# 2024-05-06, 2024/05/06, 2024.05.06
NUMERIC_DATE = re.compile(r"(\d{4})([- /.])(0[1-9]|1[012])\2(0[1-9]|[12][0-9]|3[01])")


def read_date(match: re.Match[str]) -> str:
    year, month, day, day_word = match.groups()
    return _date(year, month, day, day_word)


def read_numeric_date(match: re.Match[str]) -> str:
    return _date(match[1], match[3], match[4], "日")


def read_time(match: re.Match[str]) -> str:
    hour, minute, second = match.groups()
    return _time(hour, minute, second, at_half=int(minute) == 30)


def read_time_range(match: re.Match[str]) -> str:
    hour, minute, second, end_hour, end_minute, end_second = match.groups()
    at_half = int(minute) == 30
    return _time(hour, minute, second, at_half) + "至" + _time(end_hour, end_minute, end_second, at_half)


def _date(year: str, month: str | None, day: str | None, day_word: str | None) -> str:
    spoken = f"{spell(year)}年"
    if month:
        spoken += f"{cardinal(month)}月"
    if day:
        spoken += f"{cardinal(day)}{day_word}"
    return spoken


def _time(hour: str, minute: str, second: str | None, at_half: bool) -> str:
    spoken = f"{cardinal(hour)}点"
    if int(minute):
        spoken += "半" if at_half else f"{_sixtieths(minute)}分"
    if second and int(second):
        spoken += f"{_sixtieths(second)}秒"
    return spoken


def _sixtieths(digits: str) -> str:
    """05 -> 零五, 15 -> 十五."""
    return ("零" if digits.startswith("0") else "") + cardinal(digits.lstrip("0"))
