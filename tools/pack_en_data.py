"""Pack the English pronunciation facts that sovits_rt/text/en reads.

    python tools/pack_en_data.py GPT-SoVITS/GPT_SoVITS/text site-packages/g2p_en sovits_rt/text/data

The first folder holds GPT-SoVITS' word lists (CMUdict 0.7b, its extension, hot words, personal names), the second is
the PyPI package g2p_en 2.1.0 (homographs, weights of the letter-to-sound network). Written to the third:

en_words.xz   lexicon, names and homographs. Plain text inside: see `sovits_rt/text/en/lexicon.py` for the layout.
en_oov.npz    the network's arrays, float32, unchanged.
"""

import io
import lzma
import pickle
import sys
from pathlib import Path

import numpy as np

CMUDICT_HEADER_LINES = 56
REMOVED = ("ae", "ai", "ar", "ios", "hud", "os")
"""CMUdict reads these abbreviations as words; GPT-SoVITS spells them."""

HOMOGRAPH_FIXES = {
    "read": ("R IY1 D", "R EH1 D", "VBP"),
    "complex": ("K AH0 M P L EH1 K S", "K AA1 M P L EH0 K S", "JJ"),
}
FIRST_CODE = 0x21


class _DataOnlyUnpickler(pickle.Unpickler):
    """Reads lists, dicts and strings; anything that names code is refused."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"the name list asks for {module}.{name}, only plain data is accepted")


def read_lexicon(folder: Path) -> dict[str, list[str]]:
    """Word -> phones; the extension never replaces a word of CMUdict, the hot words always do."""
    lexicon: dict[str, list[str]] = {}
    for line in (folder / "cmudict.rep").read_text(encoding="utf-8").splitlines()[CMUDICT_HEADER_LINES:]:
        word, phones = line.strip().split("  ")[:2]
        lexicon[word.lower()] = phones.split(" ")
    base = frozenset(lexicon)
    extension: dict[str, list[str]] = {}
    for line in (folder / "cmudict-fast.rep").read_text(encoding="utf-8").splitlines():
        word, *phone_list = line.strip().split(" ")
        if word.lower() not in base:
            extension.setdefault(word.lower(), phone_list)
    lexicon |= extension
    for line in (folder / "engdict-hot.rep").read_text(encoding="utf-8").splitlines():
        word, *phone_list = line.strip().split(" ")
        lexicon[word.lower()] = phone_list
    for word in REMOVED:
        del lexicon[word]
    return lexicon


def read_names(folder: Path) -> dict[str, list[str]]:
    with (folder / "namedict_cache.pickle").open("rb") as stream:
        names = _DataOnlyUnpickler(stream).load()
    return {word: variants[0] for word, variants in names.items()}


def read_homographs(package: Path) -> dict[str, tuple[str, str, str]]:
    homographs: dict[str, tuple[str, str, str]] = {}
    for line in (package / "homographs.en").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            word, first, second, tag = line.strip().split("|")
            homographs[word.lower()] = (first, second, tag)
    return homographs | HOMOGRAPH_FIXES


def pack_words(
    lexicon: dict[str, list[str]], names: dict[str, list[str]], homographs: dict[str, tuple[str, str, str]]
) -> bytes:
    phones = sorted({phone for table in (lexicon, names) for entry in table.values() for phone in entry})
    code = {phone: chr(FIRST_CODE + index) for index, phone in enumerate(phones)}
    lines = [" ".join(phones)]
    for table in (lexicon, names):
        words = sorted(table)
        if any("\n" in word or " " in word for word in words):
            raise SystemExit("a word holds a blank or a line break: the layout can't carry it")
        lines.append(" ".join(words))
        lines.append(" ".join("".join(code[phone] for phone in table[word]) for word in words))
    lines.extend("|".join((word, *homographs[word])) for word in sorted(homographs))
    return lzma.compress("\n".join(lines).encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)


def pack_network(package: Path) -> bytes:
    with np.load(package / "checkpoint20.npz", allow_pickle=False) as arrays:
        stream = io.BytesIO()
        np.savez_compressed(stream, **{name: arrays[name] for name in arrays.files})
    return stream.getvalue()


def main(text_folder: Path, g2p_package: Path, target: Path) -> None:
    lexicon, names = read_lexicon(text_folder), read_names(text_folder)
    homographs = read_homographs(g2p_package)
    words = pack_words(lexicon, names, homographs)
    (target / "en_words.xz").write_bytes(words)
    network = pack_network(g2p_package)
    (target / "en_oov.npz").write_bytes(network)
    print(f"{len(lexicon)} words, {len(names)} names, {len(homographs)} homographs: {len(words)} bytes")
    print(f"letter-to-sound network: {len(network)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: pack_en_data.py GPT_SOVITS_TEXT_FOLDER G2P_EN_PACKAGE_FOLDER TARGET_FOLDER")
    main(*(Path(argument) for argument in sys.argv[1:]))
