"""Pack the facts that Mandarin text needs: python tools/pack_zh_data.py UPSTREAM_TREE OUTPUT_FOLDER.

Reads GPT_SoVITS/text of a GPT-SoVITS checkout (recorded from commit 48b1a01) and writes two files:

zh_tables.json
    syllables   pinyin without tone -> "initial final", the names of the symbol table
    simplify    traditional and simplified character, pairs in one string
    neutral / not_neutral / erhua / not_erhua   words, space separated
zh_polyphones.xz
    four text lines: characters; their readings, most frequent first ("a1/a5 ..."); sorted words; for each word one
    base-36 digit per character that picks the reading.

Source files are parsed, never executed.
"""

import ast
import collections
import json
import lzma
import sys
from pathlib import Path

RANKS = "0123456789abcdefghijklmnopqrstuvwxyz"


def assigned_values(source: Path, *names: str) -> dict[str, object]:
    """Literal values assigned to the given names or self.names anywhere in a Python file."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Assign):
            continue
        target = node.targets[0]
        name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
        if name in names:
            found[name] = ast.literal_eval(node.value)
    return found


def simplification_pairs(source: Path) -> str:
    """Pairs of (traditional, simplified) that differ; a later pair of the source wins, as in a dictionary."""
    columns = assigned_values(source, "simplified_charcters", "traditional_characters")
    table = dict(zip(columns["traditional_characters"], columns["simplified_charcters"], strict=True))
    return "".join(old + new for old, new in sorted(table.items()) if old != new)


def syllable_table(source: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in source.read_text(encoding="utf-8").split("\n") if line)


def polyphone_words(folder: Path) -> dict[str, list[str]]:
    words: dict[str, list[str]] = {}
    for name in ("polyphonic.rep", "polyphonic-fix.rep"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            word, readings = line.split(":")
            words[word.strip()] = ast.literal_eval(readings.strip())
    return words


def pack_polyphones(words: dict[str, list[str]]) -> str:
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for word, readings in words.items():
        for char, reading in zip(word, readings, strict=True):
            counts[char][reading] += 1
    ranked = {char: [reading for reading, _ in counter.most_common()] for char, counter in sorted(counts.items())}
    ranks = (
        "".join(RANKS[ranked[char].index(reading)] for char, reading in zip(word, words[word], strict=True))
        for word in sorted(words)
    )
    lines = ("".join(ranked), " ".join("/".join(r) for r in ranked.values()), " ".join(sorted(words)), " ".join(ranks))
    return "\n".join(lines)


def main(upstream: Path, output: Path) -> None:
    text = upstream / "GPT_SoVITS" / "text"
    tones = assigned_values(text / "tone_sandhi.py", "must_neural_tone_words", "must_not_neural_tone_words")
    erhua = assigned_values(text / "chinese2.py", "must_erhua", "not_erhua")
    tables = {
        "syllables": syllable_table(text / "opencpop-strict.txt"),
        "simplify": simplification_pairs(text / "zh_normalization" / "char_convert.py"),
        "neutral": " ".join(sorted(tones["must_neural_tone_words"])),
        "not_neutral": " ".join(sorted(tones["must_not_neural_tone_words"])),
        "erhua": " ".join(sorted(erhua["must_erhua"])),
        "not_erhua": " ".join(sorted(erhua["not_erhua"])),
    }
    tables_file, polyphones_file = output / "zh_tables.json", output / "zh_polyphones.xz"
    tables_file.write_text(json.dumps(tables, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    packed = pack_polyphones(polyphone_words(text / "g2pw")).encode("utf-8")
    polyphones_file.write_bytes(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME))
    for file in (tables_file, polyphones_file):
        print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
