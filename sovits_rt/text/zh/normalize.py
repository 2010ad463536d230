"""Mandarin text normalisation: everything that is read aloud becomes characters.

Follows zh_normalization/text_normlization.py and replace_punctuation of GPT_SoVITS/text/chinese2.py (chinese.py of the
older symbol table is the same). The order of the passes is part of what is computed: a hyphen between digits is a minus
before a telephone number or a range is looked for.
"""

import re
import string
import unicodedata
from collections.abc import Callable

from sovits_rt.text.zh import chronology
from sovits_rt.text.zh.numbers import cardinal, decimal, spell
from sovits_rt.text.zh.tables import tables

PUNCTUATION = "!?…,.-"

_SENTENCE_END = re.compile("([：、，；。？！,;?!][”’]?)")
_SILENT = dict.fromkeys(map(ord, " —《》【】<>{}()（）#&@“”^_|\\"))
_HALF_WIDTH_LETTERS = {ord(letter) + 0xFEE0: letter for letter in string.ascii_letters}

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ", "0123456789xyn", strict=True))
_POWER = f"[{''.join(_SUPERSCRIPTS)}]"
_OPERATORS = {"+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等于"}
_OPERAND = rf"-?\d+(?:\.\d+)?{_POWER}*|\.\d+{_POWER}*|[A-Za-z]{_POWER}*"
_OPERATION = re.compile(rf"({_OPERAND})([-+×÷=])({_OPERAND})")

# Replaced one after the other, which makes mm 米米.
_UNITS = (
    ("cm2", "平方厘米"), ("cm²", "平方厘米"), ("cm3", "立方厘米"), ("cm³", "立方厘米"), ("cm", "厘米"),
    ("db", "分贝"), ("ds", "毫秒"), ("kg", "千克"), ("km", "千米"), ("m2", "平方米"), ("m²", "平方米"),
    ("m³", "立方米"), ("m3", "立方米"), ("ml", "毫升"), ("m", "米"), ("mm", "毫米"), ("s", "秒"),
)  # fmt: skip
_NUMBER = r"(?:-?\d+(?:\.\d+)?|\.\d+)"
_UNIT = f"(?:%|°C|℃|度|摄氏度|{'|'.join(name for name, _ in _UNITS)})"

# What may follow a number that is a quantity. Only the beginning of such a word matters, so one character stands for
# all words that start with it.
_COUNTED = (
    "(?=[万丈世丘丝两个丸亩人亿代令件伏位例元冬出刀分列刻勺匹千升单卮厘双叠口只台合名吨周啖回场块坡堂堆堵墙壳壶处夏夜天头套季客家"
    "寸对寻封尺尾层山岁岭常幅幢平年床座张忽户所手扎打批把担挑捆撮支斗斛斤方日旬时春曲更月本朵条杯板枚枝架栋株根桶棵段毛毫江泡注溪炮煲"
    "片瓶百盆盏盒盘目石砣碗碟秋秒程窠笼管箩箱篇篮簋米粒纪线罐网罗群脚腔艘袋袭角课贯贴趟跳身辆辈道里针钟钧钱钵铢铺锅锱间阙队阵面页顶"
    "项颗首]|公分|美元|十吨|小时|微米|微克)"
)

_CIRCLED = dict(zip("①②③④⑤⑥⑦⑧⑨⑩", "一二三四五六七八九十", strict=True))
_GREEK = {
    "α": "阿尔法", "β": "贝塔", "γΓ": "伽玛", "δΔ": "德尔塔", "ε": "艾普西龙", "ζ": "捷塔", "η": "依塔", "θΘ": "西塔",
    "ι": "艾欧塔", "κ": "喀帕", "λΛ": "拉姆达", "μ": "缪", "ν": "拗", "ξΞ": "克西", "ο": "欧米克伦", "πΠ": "派",
    "ρ": "肉", "ςΣσ": "西格玛", "τ": "套", "υ": "宇普西龙", "φΦ": "服艾", "χ": "器", "ψΨ": "普赛", "ωΩ": "欧米伽",
}  # fmt: skip
_SYMBOLS = str.maketrans(
    {letter: name for letters, name in _GREEK.items() for letter in letters}
    | _CIRCLED
    | {"/": "每", "+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等"}
)

_MARKS = str.maketrans("：；，。！？\n·、$—~～", ",,,.!?.,,.-……") | str.maketrans("嗯呣", "恩母")
_UNSPOKEN = re.compile(f"[^一-龥{PUNCTUATION}]+")
_REPEATED_MARK = re.compile(f"([{PUNCTUATION}])[{PUNCTUATION}]+")


def normalize(text: str) -> str:
    """Text as it is read aloud: the characters U+4E00 to U+9FA5 and the marks of PUNCTUATION, never two marks in a row.

    Whatever else is in the text (letters, other scripts, emoji) is left out, as upstream does.
    """
    sentences = _SENTENCE_END.sub(r"\1\n", text.translate(_SILENT)).split("\n")
    spoken = (_plain_marks(_read_aloud(sentence.strip())) for sentence in sentences)
    return _REPEATED_MARK.sub(r"\1", "".join(spoken))


def _read_aloud(sentence: str) -> str:
    sentence = sentence.translate(tables().simplify).translate(_HALF_WIDTH_LETTERS)
    sentence = re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), sentence)
    for read in _PASSES:
        sentence = read(sentence)
    return sentence.translate(_SYMBOLS)


def _plain_marks(sentence: str) -> str:
    return _UNSPOKEN.sub("", sentence.replace("...", "…").translate(_MARKS))


def _pass(pattern: str | re.Pattern[str], read: Callable[[re.Match[str]], str]) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda sentence: compiled.sub(read, sentence)


def _read_units(sentence: str) -> str:
    for unit, name in _UNITS:
        sentence = sentence.replace(unit, name)
    return sentence


def _read_operations(sentence: str) -> str:
    """1+2=3 has two operations that share a number, so one pass is not enough."""
    found = 1
    while found:
        sentence, found = _OPERATION.subn(lambda match: match[1] + _OPERATORS[match[2]] + match[3], sentence)
    return sentence


def _read_power(match: re.Match[str]) -> str:
    return f"的{''.join(_SUPERSCRIPTS[mark] for mark in match[0])}次方"


def _read_temperature(match: re.Match[str]) -> str:
    """摄氏度 is read 度, too: upstream means to keep it, but looks at the wrong group."""
    return f"{'零下' if match[1] else ''}{decimal(match[2])}度"


def _read_fraction(match: re.Match[str]) -> str:
    sign, part, whole = match.groups()
    return f"{_minus(sign)}{cardinal(whole)}分之{cardinal(part)}"


def _read_range(match: re.Match[str]) -> str:
    first, last = (_minus(sign) + decimal(number) for sign, number in (match.group(1, 2), match.group(3, 4)))
    return f"{first}到{last}"


def _read_quantity(match: re.Match[str]) -> str:
    number, more = match.groups()
    return ("两" if (spoken := cardinal(number)) == "二" else spoken) + ("多" if more == "+" else more)


def _telephone(number: str) -> str:
    return spell(number.lstrip("+"), one="幺")


def _minus(sign: str | None) -> str:
    return "负" if sign else ""


_PASSES: tuple[Callable[[str], str], ...] = (
    _pass(chronology.DATE, chronology.read_date),
    _pass(chronology.NUMERIC_DATE, chronology.read_numeric_date),
    _pass(chronology.TIME_RANGE, chronology.read_time_range),
    _pass(chronology.TIME, chronology.read_time),
    _pass(f"{_NUMBER}{_UNIT}~{_NUMBER}{_UNIT}", lambda match: match[0].replace("~", "至")),
    _pass(r"(-?)(\d+(?:\.\d+)?)(?:°C|℃|度|摄氏度)", _read_temperature),
    _read_units,
    _read_operations,
    _pass(f"{_POWER}+", _read_power),
    _pass(r"(-?)(\d+)/(\d+)", _read_fraction),
    _pass(r"(-?)(\d+(?:\.\d+)?)%", lambda match: f"{_minus(match[1])}百分之{decimal(match[2])}"),
    # mobile and fixed-line telephone numbers, then the service numbers 400 ...
    _pass(r"(?<!\d)(?:\+?86)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8}(?!\d)", lambda match: _telephone(match[0])),
    _pass(r"(?<!\d)(?:0(?:10|2[1-3]|[3-9]\d{2}))?[1-9]\d{6,7}(?!\d)", lambda match: _telephone(match[0])),
    _pass(r"400\d{7}", lambda match: _telephone(match[0])),
    _pass(r"(?<![-\d+×÷=])(-?)(\d+(?:\.\d+)?)~(-?)(\d+(?:\.\d+)?)(?![-\d+×÷=])", _read_range),
    _pass(r"-(\d+)", lambda match: "负" + cardinal(match[1])),
    _pass(r"\d+\.\d+(?:\.\d+)+", lambda version: "".join("点" if c == "." else spell(c) for c in version[0])),
    _pass(r"\d*\.\d+", lambda match: decimal(match[0])),
    _pass(rf"(\d+)([多余几+]?){_COUNTED}", _read_quantity),
    _pass(r"\d{3,}", lambda match: spell(match[0], one="幺")),
    _pass(r"\d+", lambda match: cardinal(match[0])),
)
