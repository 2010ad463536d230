"""儿 at the end of a word takes the tone of the syllable before it.

Follows _merge_erhua of GPT_SoVITS/text/chinese2.py; checkpoints of the older symbol table were trained without it.
"""

from sovits_rt.text.zh.tables import tables
from sovits_rt.text.zh.words import Word


def apply_erhua(word: Word, finals: list[str]) -> None:
    """Change the last final in place where the word ends in 儿. finals: one per character of the word."""
    text, tag = word
    if text[-1] != "儿":
        return
    if finals[-1] == "er1":
        finals[-1] = "er2"
    not_erhua = tables().not_erhua
    if text not in tables().erhua and (text in not_erhua or tag in ("a", "j", "nr")):
        return
    if len(text) > 1 and text[-2:] not in not_erhua and finals[-1] in ("er2", "er5"):
        finals[-1] = f"er{finals[-2][-1:]}"
