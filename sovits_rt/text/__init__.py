"""Text to phone ids: the text frontend. numpy only; language packages are imported when a text needs them."""

from sovits_rt.text.dictionary import Dictionary
from sovits_rt.text.frontend import phonemize, prepare, prepare_prompt, to_json
from sovits_rt.text.language import LANGUAGES
from sovits_rt.text.split import SPLITS

__all__ = ["LANGUAGES", "SPLITS", "Dictionary", "phonemize", "prepare", "prepare_prompt", "to_json"]
