"""English sentences for the demonstration voice, made from templates and the word lists of words.yaml.

    python -m tools.demo_voice.generate_text --count 4000 --seed 1 > generated.txt

They make little sense and are not meant to: what matters is that every sound occurs beside every other. About 8 % are
strings of three to eight spoken digits. No sentence shares five consecutive words with the held-out sentences of
sovits_rt/data/evaluation/sentences.txt, on which the voice is judged.
"""

import argparse
import random
import re
from pathlib import Path

import wordsegment
import yaml

from sovits_rt.text.en.lexicon import load as load_lexicon

HERE = Path(__file__).resolve().parent
WORDS = HERE / "words.yaml"
HELD_OUT = HERE.parents[1] / "sovits_rt" / "data" / "evaluation" / "sentences.txt"
SHARED_WORDS = 5  # this many consecutive words in common with a held-out sentence are too many
DIGIT_STRINGS = 0.08  # share of all sentences
COMMON = 20_000

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# "an" is for a vowel that is heard: an hour, an uncle, but a uniform, a useful tool.
HEARD_VOWEL = re.compile(r"(?!uni(?!n|m)|us[eu]|eu|one\b|once)[aeiou]|hour|hono|hones|heir")

# A slot in braces is a list of words.yaml or a method of Writer; "a(n)" becomes "a" or "an".
TEMPLATES = (
    "the {adjectives} {nouns_singular} {verbs_past_transitive} the {nouns_plural} {times}.",
    "{names} {verbs_past_transitive} a(n) {adjectives} {nouns_singular} {prepositions} {places}.",
    "a(n) {adjectives} {nouns_singular} {verbs_past_intransitive} {adverbs} {prepositions} {places}.",
    "the {nouns_plural} {verbs_past_intransitive} {prepositions} {places} {times}.",
    "{times}, {names} {adverbs} {verbs_past_transitive} the {nouns_singular}.",
    "my {nouns_singular} is more {adjectives} than your {nouns_singular}.",
    "there are {number} {nouns_plural} {prepositions} {places}.",
    "the {nouns_plural} {prepositions} {places} were {adjectives} and {adjectives}.",
    "{names} and {names} will {verbs_base} the {adjectives} {nouns_plural}.",
    "nobody {verbs_past_transitive} the {nouns_singular} of the {adjectives} {nouns_singular}.",
    "the {nouns_singular} {verbs_past_intransitive}, and the {adjectives} {nouns_plural} {verbs_past_intransitive}.",
    "when {names} {verbs_past_intransitive}, the {nouns_singular} {verbs_past_transitive} our {nouns_plural}.",
    "although the {nouns_singular} was {adjectives}, {names} {verbs_past_transitive} it {adverbs}.",
    "if you {verbs_base} the {nouns_singular}, I will {verbs_base} the {nouns_plural}.",
    "we saw a(n) {nouns_singular}, a(n) {nouns_singular}, and some {nouns_plural} {prepositions} {places}.",
    "did {names} {verbs_base} the {adjectives} {nouns_singular} {times}?",
    "why is this {nouns_singular} so {adjectives}?",
    "where can I {verbs_base} a(n) {adjectives} {nouns_singular}?",
    "who {verbs_past_transitive} the {nouns_plural} {prepositions} {places}?",
    "could you {verbs_base} these {nouns_plural} for {names}?",
    "please {verbs_base} the {nouns_singular} {prepositions} {places}.",
    "{verbs_base} the {adjectives} {nouns_plural} {adverbs}, {names}!",
    "don't {verbs_base} that {nouns_singular}!",
    "what a(n) {adjectives} {nouns_singular}!",
    "{adverbs} {prepositions} {places}.",
    "{adjectives} {nouns_plural}.",
    "the {adjectives} {nouns_singular} and the {nouns_singular}.",
    "the {nouns_singular} costs {price}.",
    "{names} paid {price} for the {adjectives} {nouns_plural}.",
    "the {nouns_singular} opens at {time} and closes at {time}.",
    "meet me {prepositions} {places} at {time}.",
    "page {number} shows a(n) {adjectives} {nouns_singular}.",
    "call {names} at {digits}.",
)


def load(path: Path) -> list[str]:
    """The sentences of a file, one a line; empty lines are left out."""
    lines = (line.strip() for line in path.read_text(encoding="ascii").splitlines())
    return [line for line in lines if line]


def runs(sentence: str) -> set[tuple[str, ...]]:
    """Every run of SHARED_WORDS consecutive words, in lower case and without punctuation; a shorter sentence whole."""
    words = re.findall(r"[a-z0-9']+", sentence.lower())
    return {tuple(words[i : i + SHARED_WORDS]) for i in range(max(1, len(words) - SHARED_WORDS + 1))}


def spoken(number: int) -> str:
    """0 <= number < 1000 in words: 342 -> "three hundred forty two"."""
    if number >= 100:
        rest = number % 100
        return f"{DIGITS[number // 100]} hundred" + (f" {spoken(rest)}" if rest else "")
    if number >= 20:
        return TENS[number // 10 - 2] + (f" {DIGITS[number % 10]}" if number % 10 else "")
    return DIGITS[number] if number < 10 else TEENS[number - 10]


class Writer:
    """Fills templates; every choice comes from one random generator."""

    def __init__(self, words: dict[str, list[str]], rng: random.Random) -> None:
        self.words = words
        self.rng = rng

    def digits(self) -> str:
        zero = "oh" if self.rng.random() < 0.2 else "zero"
        chosen = [self.rng.choice(DIGITS) for _ in range(self.rng.randint(3, 8))]
        separator = self.rng.choice((" ", ", "))
        return separator.join(zero if digit == "zero" else digit for digit in chosen)

    def number(self) -> str:
        return spoken(self.rng.choice((self.rng.randint(2, 20), self.rng.randint(21, 99), self.rng.randint(100, 999))))

    def time(self) -> str:
        minute = self.rng.choice(("", "oh five", "ten", "fifteen", "twenty", "thirty", "thirty five", "forty five"))
        return f"{spoken(self.rng.randint(1, 12))} {minute}".strip()

    def price(self) -> str:
        dollars = f"{spoken(self.rng.randint(2, 120))} dollars"
        return f"{dollars} and {spoken(self.rng.randint(2, 99))} cents" if self.rng.random() < 0.4 else dollars

    def sentence(self) -> str:
        if self.rng.random() < DIGIT_STRINGS:
            return self.digits().capitalize() + "."
        used: set[str] = set()

        def fill(slot: re.Match[str]) -> str:
            name = slot[1]
            choices = [word for word in self.words[name] if word not in used] if name in self.words else []
            word = self.rng.choice(choices) if choices else str(getattr(self, name)())
            used.add(word)
            return word

        text = re.sub(r"\{(\w+)\}", fill, self.rng.choice(TEMPLATES))
        text = re.sub(r"\ba\(n\) (?=(\w+))", lambda a: "an " if HEARD_VOWEL.match(a[1]) else "a ", text)
        return text[0].upper() + text[1:]


def generate(count: int, seed: int) -> list[str]:
    """`count` different sentences; the same ones for the same seed. Raises ValueError if count is negative."""
    if count < 0:
        raise ValueError(f"The number of sentences must be 0 or more, but got {count}.")
    writer = Writer(yaml.safe_load(WORDS.read_text(encoding="ascii")), random.Random(seed))
    held_out = {run for sentence in load(HELD_OUT) for run in runs(sentence)}
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        sentence = writer.sentence()
        if held_out.isdisjoint(runs(sentence)):
            sentences[sentence] = None
    return list(sentences)


def word_strings(count: int, seed: int) -> list[str]:
    """`count` strings of 3 to 8 words that have nothing to do with each other; the same ones for the same seed.

    Words of the frontend's dictionary that wordsegment counts among the COMMON most frequent, all alike: with the word
    lists alone a decoder learns their words rather than how sounds follow each other.
    """
    wordsegment.load()
    lexicon = load_lexicon()
    frequent = sorted(wordsegment.UNIGRAMS, key=wordsegment.UNIGRAMS.__getitem__, reverse=True)[:COMMON]
    common = sorted(word for word in frequent if len(word) > 1 and lexicon.word(word) is not None)
    rng = random.Random(seed)
    strings = [" ".join(rng.sample(common, rng.randint(3, 8))) for _ in range(count)]
    return [each[0].upper() + each[1:] + rng.choice((".", ".", ".", "?")) for each in strings]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print sentences made from templates, one a line.")
    parser.add_argument("--count", type=int, default=4000, help="how many sentences")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.count < 0:
        parser.error(f"--count must be 0 or more, but got {options.count}.")
    print("\n".join(generate(options.count, options.seed)))


if __name__ == "__main__":
    main()
