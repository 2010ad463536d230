"""Which neighbouring words are pronounced as one, so that tones can change across them.

Follows pre_merge_for_modify of GPT_SoVITS/text/tone_sandhi.py. The steps run in this order, each on the result of the
one before it.
"""

from collections.abc import Callable, Sequence

from sovits_rt.text.zh.readings import word_reading
from sovits_rt.text.zh.words import Word

_LONGEST_THIRD_TONE_WORD = 3


def merge_words(words: Sequence[Word]) -> list[Word]:
    """Join 不 and 一 with what follows them, repetitions, third tones in a row, and 儿 with what precedes it."""
    merged = _join_negation(words)
    merged = _join_one_with_next(_join_verb_one_verb(merged))
    merged = _join_repetitions(merged)
    merged = _join_third_tones(merged, _all_third)
    merged = _join_third_tones(merged, _third_at_boundary)
    return _join_er(merged)


def is_third_tone(final: str) -> bool:
    return final.endswith("3")


def _join_negation(words: Sequence[Word]) -> list[Word]:
    """不 and the next word become one word, which keeps the next word's part of speech; 不不 joins once."""
    merged: list[Word] = []
    previous = ""
    for text, tag in words:
        joined = "不" + text if previous == "不" else text
        if joined != "不":
            merged.append(Word(joined, tag))
        previous = joined
    if previous == "不":
        merged.append(Word("不", "d"))
    return merged


def _join_verb_one_verb(words: Sequence[Word]) -> list[Word]:
    """听 一 听 becomes one verb."""
    merged: list[Word] = []
    skip = False
    for i, word in enumerate(words):
        if skip:
            skip = False
            continue
        following = words[i + 1] if i + 1 < len(words) else None
        if merged and word.text == "一" and following and merged[-1] == following and following.tag == "v":
            merged[-1] = Word(f"{following.text}一{following.text}", "v")
            skip = True
        else:
            merged.append(word)
    return merged


def _join_one_with_next(words: Sequence[Word]) -> list[Word]:
    merged: list[Word] = []
    for word in words:
        _append(merged, word, join=bool(merged) and merged[-1].text == "一")
    return merged


def _join_repetitions(words: Sequence[Word]) -> list[Word]:
    merged: list[Word] = []
    for word in words:
        _append(merged, word, join=bool(merged) and merged[-1].text == word.text)
    return merged


def _join_third_tones(words: Sequence[Word], meets: Callable[[tuple[str, ...], tuple[str, ...]], bool]) -> list[Word]:
    """Join two words of at most three characters together whose finals meet in the third tone; a chain joins in pairs.

    A repetition on the left stays alone: its second half will become neutral.
    """
    finals = [word_reading(word.text).finals for word in words]
    merged: list[Word] = []
    joined_previous = False
    for i, word in enumerate(words):
        join = False
        if i > 0 and not joined_previous and meets(finals[i - 1], finals[i]):
            left = words[i - 1].text
            join = not _is_repetition(left) and len(left) + len(word.text) <= _LONGEST_THIRD_TONE_WORD
        _append(merged, word, join)
        joined_previous = join
    return merged


def _join_er(words: Sequence[Word]) -> list[Word]:
    merged: list[Word] = []
    for word in words:
        _append(merged, word, join=bool(merged) and word.text == "儿")
    return merged


def _append(merged: list[Word], word: Word, join: bool) -> None:
    """Add a word, or add its characters to the last word, which keeps its part of speech."""
    if join:
        merged[-1] = Word(merged[-1].text + word.text, merged[-1].tag)
    else:
        merged.append(word)


def _all_third(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return all(map(is_third_tone, left)) and all(map(is_third_tone, right))


def _third_at_boundary(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return is_third_tone(left[-1]) and is_third_tone(right[0])


def _is_repetition(word: str) -> bool:
    return len(word) == 2 and word[0] == word[1]
