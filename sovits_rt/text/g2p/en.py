"""English: text to ARPAbet phones.

The path is upstream's (`GPT_SoVITS/text/english.py`): normalise, cut into words (nltk's tweet tokenizer), look each
word up. The part of speech decides only how homographs ("read", "record") are spoken. It comes from nltk's tagger if
the user's nltk data holds averaged_perceptron_tagger_eng; without it every word counts as a noun (NN). Nothing is
downloaded.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from sovits_rt.errors import MissingExtraError, TextError
from sovits_rt.text import symbols as tables
from sovits_rt.text.en import lexicon
from sovits_rt.text.en import normalize as spoken_form
from sovits_rt.text.en.words import is_homograph, phones_of
from sovits_rt.text.markup import ENGLISH_WORD

MIN_PHONES = 4
"""A shorter text gets a comma in front, as upstream: the T2S network is unsure on very few phones."""

_TAGGER = "taggers/averaged_perceptron_tagger_eng"
_ARPABET = re.compile(r"[A-Z]{1,2}[0-2]?")
_DROPPED = frozenset(("<pad>", "<s>", "</s>", "UW"))


def normalize(text: str, symbols: str) -> str:
    """What is spoken, in letters, blanks and `' . , ? ! -`; the phone table makes no difference."""
    return spoken_form.normalize(text)


def phones(
    norm_text: str, symbols: str, overrides: Mapping[int, str], polyphones: object = None
) -> tuple[list[str], None]:
    """ARPAbet phones and marks of a normalised text; English has no BERT features, so word2ph is None.

    overrides: index of the first character of a word -> its pronunciation, like "W ER1 D".
    """
    tokens, given = _read(norm_text, overrides)
    spoken: list[str] = []
    for index, (token, tag) in enumerate(zip(tokens, _tags(tokens), strict=True)):
        spoken += given.get(index) or phones_of(token, tag)
    kept = [phone for phone in map(_rename, spoken) if phone is not None]
    return ([",", *kept] if len(kept) < MIN_PHONES else kept), None


def _rename(phone: str) -> str | None:
    """The phone as the tables call it, None for one that is not spoken; the tables' later one decides for both."""
    if phone in _DROPPED:
        return None
    name = {"<unk>": tables.UNKNOWN, "'": "-"}.get(phone, phone)
    return name if name in tables.phone_ids("v2") else None


def _read(norm_text: str, overrides: Mapping[int, str]) -> tuple[list[str], dict[int, list[str]]]:
    """The words and marks of the text, and number of a word -> the phones given for it.

    A word with given phones is cut out first, so that the tokenizer can't join it to a neighbour ("word.com").
    """
    tokens: list[str] = []
    given: dict[int, list[str]] = {}
    end = 0
    for start in sorted(overrides):
        found = ENGLISH_WORD.match(norm_text, start)
        if found is None or start < end:
            raise TextError(f"There is no word at position {start} of {norm_text[:40]!r} to give a pronunciation to.")
        tokens += _tokens(norm_text[end:start])
        given[len(tokens)] = _read_arpabet(overrides[start], found[0])
        tokens.append(found[0])
        end = found.end()
    return tokens + _tokens(norm_text[end:]), given


def _read_arpabet(pronunciation: str, word: str) -> list[str]:
    spoken = frozenset(lexicon.load().phone_of.values())
    read = pronunciation.upper().split()
    wrong = [phone for phone in read if not _ARPABET.fullmatch(phone) or phone not in spoken]
    if wrong:
        raise TextError(
            f"The pronunciation {pronunciation!r} of {word!r} holds {' '.join(wrong)!r}, which is no phone; "
            "write ARPAbet with stress digits on vowels, like HH AH0 L OW1."
        )
    return read


@cache
def _tokenizer() -> Callable[[str], list[str]]:
    try:
        from nltk.tokenize import TweetTokenizer
    except ImportError as error:
        raise MissingExtraError(
            "English needs the package 'nltk', which is not installed: pip install 'sovits-rt[en]'."
        ) from error
    tokenizer = TweetTokenizer()

    def tokenize(text: str) -> list[str]:
        return list(tokenizer.tokenize(text))

    return tokenize


def _tokens(text: str) -> list[str]:
    return _tokenizer()(text)


def _tags(tokens: Sequence[str]) -> list[str]:
    """Penn tags; asked for only if the text has a homograph."""
    if not any(map(is_homograph, tokens)) or not _has_tagger():
        return ["NN"] * len(tokens)
    import nltk

    return [tag for _, tag in nltk.pos_tag(list(tokens))]


@cache
def _has_tagger() -> bool:
    import nltk

    try:
        nltk.data.find(_TAGGER)
    except LookupError:
        return False
    return True
