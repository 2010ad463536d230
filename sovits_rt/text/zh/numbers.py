"""Digits read aloud in Mandarin."""

_DIGITS = "零一二三四五六七八九"
# Powers of ten with a name of their own, largest first; what lies between is composed: 10^5 is 十万.
_POWERS = ((8, "亿"), (4, "万"), (3, "千"), (2, "百"), (1, "十"))


def spell(digits: str, one: str = "一") -> str:
    """Read digit by digit: 2024 -> 二零二四. Telephone numbers say 幺 for one."""
    return "".join(one if digit == "1" else _DIGITS[int(digit)] for digit in digits)


def cardinal(digits: str) -> str:
    """Read as a quantity: 105 -> 一百零五, 12 -> 十二, 000 -> 零, nothing -> nothing."""
    if not digits:
        return ""
    significant = digits.lstrip("0")
    if not significant:
        return "零"
    spoken = _compose(significant)
    return spoken[1:] if spoken.startswith("一十") else spoken


def decimal(number: str) -> str:
    """Read a number that may have a decimal point: 3.140 -> 三点一四零, 3.100 -> 三点一零, .5 -> 零点五.

    Several zeros at the end are read as one, a quirk of upstream's zh_normalization/num.py.
    """
    whole, _, fraction = number.partition(".")
    if fraction.endswith("0"):
        fraction = fraction.rstrip("0") + "0"
    return f"{cardinal(whole) or '零'}点{spell(fraction)}" if fraction else cardinal(whole)


def _compose(digits: str) -> str:
    """Digits may start with zeros, which are then read as one 零; all zeros are silent."""
    significant = digits.lstrip("0")
    if not significant:
        return ""
    if len(significant) == 1:
        return ("零" if len(digits) > 1 else "") + _DIGITS[int(significant)]
    power, name = next((power, name) for power, name in _POWERS if power < len(significant))
    return _compose(digits[:-power]) + name + _compose(digits[-power:])
