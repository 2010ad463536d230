"""Mandarin: from written text to what the symbol table calls phones.

normalize.py      text -> characters that are read aloud, and six punctuation marks
  numbers.py      digits -> characters
  chronology.py   dates and times of day
words.py          words and their part of speech (jieba)
readings.py       word -> initials and finals (pypinyin)
merge.py          which neighbouring words are pronounced as one
tone_sandhi.py    tones that change inside a word
erhua.py          儿 after a syllable
syllables.py      initial and final -> names of the symbol table
polyphones.py     corrections of a polyphone model's readings
g2pw.py           g2pW, an optional polyphone model
tables.py         the packed facts

What is computed follows GPT_SoVITS/text/{chinese,chinese2}.py at commit 48b1a01, quirks included, so that checkpoints
hear the ids they were trained with.
"""
