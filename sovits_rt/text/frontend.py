"""From a text to sentences of phone ids: cut, find the languages, normalise, look up.

What is computed is upstream's `TextPreprocessor.preprocess` and `get_phones_and_bert` without BERT, plus markup and the
user's dictionary. Where upstream fails on a text, TextError says why.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sovits_rt.errors import TextError
from sovits_rt.text import g2p, markup
from sovits_rt.text import language as languages
from sovits_rt.text import split as splitting
from sovits_rt.text import symbols as tables
from sovits_rt.text.dictionary import Dictionary
from sovits_rt.text.language import Piece
from sovits_rt.text.markup import Mark
from sovits_rt.text.zh.polyphones import PolyphoneModel
from sovits_rt.types import Segment, Sentence

MIN_PHONES = 6
"""A sentence with fewer phones is tried once more with a full stop in front."""

MAX_BERT_CHARACTERS = splitting.MAX_PIECE_CHARACTERS

_PAUSE_SIGNS: Mapping[str, tuple[tuple[str, str], ...]] = {"zh": (("￥", "SP2"), ("^", "SP3"))}
"""Per language: sign -> pause phone. The first sign found is read as a comma, and then every comma is that pause."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_WORD_GOES_ON = re.compile("['-]?[A-Za-z0-9]")
_SILENT = tables.PUNCTUATION | {"SP", "SP2", "SP3", tables.UNKNOWN}


def prepare(
    text: str,
    language: str,
    *,
    split: str = "cut5",
    symbols: str = "v2",
    dictionary: Dictionary | None = None,
    lid_model: str | None = None,
    polyphones: PolyphoneModel | None = None,
) -> list[Sentence]:
    """The sentences of a text, in order, each to be synthesised on its own.

    language: one of LANGUAGES. split: one of SPLITS. symbols: "v1" or "v2", from the model's version. lid_model: path
    of fastText's lid.176.bin, used instead of the small model. polyphones: chooses Chinese readings in place of
    pypinyin (see zh.g2pw). `[pause:0.8s]` sets `pause_seconds` of the sentence before it; several add up. In front of
    all speech it yields a sentence without segments: only silence. Raises TextError for text that can't be spoken as
    asked, MissingExtraError without a language's packages.
    """
    languages.check(language)
    _check_characters(text)
    passages = list(markup.passages(text))
    sentences: list[Sentence] = []
    for passage in passages:
        if re.search(r"\w", passage.text) or len(passages) == 1:
            marks = _all_marks(passage.text, passage.marks, language, dictionary)
            pieces = splitting.sentences(passage.text, language, split)
            placed = markup.share(markup.follow(marks, passage.text, "".join(pieces)), pieces)
            for piece, piece_marks in zip(pieces, placed, strict=True):
                sentence = _sentence(piece, piece_marks, _Context(language, symbols, lid_model, polyphones))
                if sentence.norm_text:
                    sentences.append(sentence)
        if passage.pause_seconds is not None:
            _pause(sentences, passage.pause_seconds)
    if not any(_is_speech(sentence) for sentence in sentences):
        raise TextError(f"Nothing in the text {text[:40]!r} can be spoken as {language!r}; check text and language.")
    return sentences


def phonemize(
    text: str,
    language: str,
    *,
    symbols: str = "v2",
    dictionary: Dictionary | None = None,
    lid_model: str | None = None,
    polyphones: PolyphoneModel | None = None,
) -> Sentence:
    """The text as one sentence, not cut. Parameters and errors as for `prepare`; pauses can't be marked here."""
    languages.check(language)
    _check_characters(text)
    passage, *more = markup.passages(text)
    if more:
        raise TextError("A pause ends a sentence, but this text is one sentence; leave [pause:…] out.")
    marks = _all_marks(passage.text, passage.marks, language, dictionary)
    return _sentence(passage.text, marks, _Context(language, symbols, lid_model, polyphones))


def prepare_prompt(
    text: str,
    language: str,
    *,
    symbols: str = "v2",
    dictionary: Dictionary | None = None,
    lid_model: str | None = None,
    polyphones: PolyphoneModel | None = None,
) -> Sentence:
    """The text of a reference recording: line breaks around it dropped, closed with a full stop, one sentence."""
    text = text.strip("\n")
    if not text:
        raise TextError("The text of the reference recording is empty; write what is said in it.")
    closed = splitting.close(text, language)
    sentence = phonemize(
        closed, language, symbols=symbols, dictionary=dictionary, lid_model=lid_model, polyphones=polyphones
    )
    if not _is_speech(sentence):
        raise TextError(
            f"The text {text[:40]!r} of the reference recording can't be spoken as {language!r}; write its words."
        )
    return sentence


def to_json(sentences: Sequence[Sentence]) -> dict[str, Any]:
    """Plain data for a JSON file: all segments in a row, and per sentence the numbers of its segments."""
    segments: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for sentence in sentences:
        numbers = list(range(len(segments), len(segments) + len(sentence.segments)))
        listed.append({"text": sentence.text, "pause_seconds": sentence.pause_seconds, "segments": numbers})
        segments += [
            {
                "text": segment.text,
                "lang": segment.lang,
                "norm_text": segment.norm_text,
                "phones": list(segment.phones),
                "ids": list(segment.ids),
                "word2ph": None if segment.word2ph is None else list(segment.word2ph),
            }
            for segment in sentence.segments
        ]
    return {"segments": segments, "sentences": listed}


def _check_characters(text: str) -> None:
    if half := _HALF_CHARACTER.search(text):
        raise TextError(f"Position {half.start()} of the text holds half a character (surrogate); write valid Unicode.")


def _pause(sentences: list[Sentence], seconds: float) -> None:
    """Put silence after the last sentence, or in front of everything."""
    if sentences:
        sentences[-1] = replace(sentences[-1], pause_seconds=(sentences[-1].pause_seconds or 0.0) + seconds)
    else:
        sentences.append(Sentence("", (), seconds))


def _is_speech(sentence: Sentence) -> bool:
    return any(phone not in _SILENT for segment in sentence.segments for phone in segment.phones)


def _all_marks(text: str, marks: Sequence[Mark], language: str, dictionary: Dictionary | None) -> list[Mark]:
    """The text's own marks and the dictionary's, in order; in English text only English words of the dictionary
    count."""
    found = dictionary.find(text, marks) if dictionary else ()
    usable = [mark for mark in found if language != "en" or markup.is_english(text[mark.start : mark.end])]
    return sorted((*marks, *usable), key=lambda mark: mark.start)


@dataclass(frozen=True, slots=True)
class _Context:
    """What holds for every sentence of a text."""

    language: str
    symbols: str
    lid_model: str | None
    polyphones: PolyphoneModel | None


def _sentence(text: str, marks: Sequence[Mark], context: _Context) -> Sentence:
    segments = _segments(text, marks, context)
    if sum(len(segment.ids) for segment in segments) < MIN_PHONES:
        moved = [mark.moved(1) for mark in marks]
        segments = _segments(f".{text}", moved, context)
    return Sentence(text, segments)


def _segments(text: str, marks: Sequence[Mark], context: _Context) -> tuple[Segment, ...]:
    pieces = languages.segment(re.sub(" {2,}", " ", text), context.language, context.lid_model)
    if not pieces:
        raise TextError("The text is blank; write something to speak.")
    if marks:
        marks = markup.follow(marks, text, "".join(piece.text for piece in pieces))
        pieces = _keep_words_whole(pieces, marks, context.language)
    placed = markup.share(marks, [piece.text for piece in pieces])
    return tuple(_segment(piece, own, context) for piece, own in zip(pieces, placed, strict=True))


def _keep_words_whole(pieces: list[Piece], marks: Sequence[Mark], language: str) -> list[Piece]:
    """A word with a given pronunciation is in the language of that pronunciation ("5G" in Chinese text)."""
    if language == "en":
        return pieces
    words = "".join(piece.text for piece in pieces)
    return languages.claim(
        pieces,
        ((mark.start, mark.end, "en" if markup.is_english(words[mark.start : mark.end]) else "zh") for mark in marks),
    )


def _segment(piece: Piece, marks: Sequence[Mark], context: _Context) -> Segment:
    symbols = context.symbols
    if piece.lang not in languages.SPOKEN:
        raise TextError(
            f"{piece.text[:40]!r} was found to be {piece.lang!r}, which is not spoken yet "
            f"(only {', '.join(languages.SPOKEN)}); name the language of the text."
        )
    speaker = g2p.load(piece.lang)
    text, pause = _read_pause_signs(piece)
    norm_text, overrides = _normalize(text, piece.lang, marks, symbols)
    if piece.lang == "zh" and len(norm_text) > MAX_BERT_CHARACTERS:
        raise TextError(
            f"A sentence of {len(norm_text)} characters is too long; "
            f"put a full stop or comma after at most {MAX_BERT_CHARACTERS}."
        )
    spoken, word2ph = speaker.phones(norm_text, symbols, overrides, context.polyphones)
    phones = tables.known((pause if pause and phone == "," else phone for phone in spoken), symbols)
    return Segment(
        piece.text,
        piece.lang,
        norm_text,
        phones,
        tables.to_ids(phones, symbols),
        None if word2ph is None else tuple(word2ph),
    )


def _read_pause_signs(piece: Piece) -> tuple[str, str | None]:
    for sign, phone in _PAUSE_SIGNS.get(piece.lang, ()):
        if sign in piece.text:
            return piece.text.replace(sign, ","), phone
    return piece.text, None


def _normalize(text: str, lang: str, marks: Sequence[Mark], symbols: str) -> tuple[str, dict[int, str]]:
    """The spoken form, and the sounds of the marked words by their place in it.

    A marked word is normalised apart from what is around it, so that its place is known: English words as they stand,
    Chinese characters one by one.
    """
    speaker = g2p.load(lang)
    if not marks:
        return speaker.normalize(text, symbols), {}
    done = speaker.normalize(text[: marks[0].start], symbols) if marks[0].start else ""
    overrides: dict[int, str] = {}
    for mark, end in zip(marks, (*(mark.start for mark in marks[1:]), len(text)), strict=True):
        word = text[mark.start : mark.end]
        if markup.is_english(word) != (lang == "en"):
            raise TextError(f"The pronunciation of {word!r} is not for text read as {lang!r}; name another language.")
        units = [word] if lang == "en" else [speaker.normalize(character, symbols) for character in word]
        for unit, sound in zip(units, mark.sounds, strict=True):
            if lang != "en" and len(unit) != 1:
                raise TextError(f"{word!r} has a character that is not spoken; leave its pronunciation out.")
            overrides[len(done)] = sound
            done += unit
        after = speaker.normalize(text[mark.end : end], symbols) if mark.end < end else ""
        done += f" {after}" if lang == "en" and _WORD_GOES_ON.match(after) else after
    return done, overrides
