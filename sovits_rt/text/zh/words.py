"""Words of a Mandarin text and their part of speech, by jieba.

An own tokeniser is used, not the one that jieba shares in a process, so that words that a program adds to jieba for
itself do not change what is spoken here.
"""

import functools
from typing import Any, NamedTuple

from sovits_rt.text.zh.extras import load_optional


class Word(NamedTuple):
    text: str
    tag: str  # part of speech in jieba's notation: n noun, v verb, m numeral, ...


def tagged_words(text: str) -> list[Word]:
    return [Word(pair.word, pair.flag) for pair in _tagger().lcut(text)]


@functools.lru_cache(maxsize=16384)
def two_parts(word: str) -> tuple[str, str]:
    """Split a word at its shortest subword, the first of them where several are equally short.

    The second part is empty where nothing is inside the word. A subword from the middle is returned as the second part
    although the word does not end in it, as upstream does; the lengths of the parts always add up.
    """
    shortest: str = min(_tokenizer().cut_for_search(word), key=len)
    if word.startswith(shortest):
        return shortest, word[len(shortest) :]
    return word[: -len(shortest)], shortest


@functools.cache
def _tokenizer() -> Any:  # jieba.Tokenizer; jieba has no types
    tokenizer = load_optional("jieba", extra="zh").Tokenizer()
    # What its initialize() does, without the cache file in the folder for temporary files that all users share.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


@functools.cache
def _tagger() -> Any:  # jieba.posseg.POSTokenizer
    return load_optional("jieba.posseg", extra="zh").POSTokenizer(_tokenizer())
