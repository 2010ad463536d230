"""Every bad input of docs/bad-inputs.md: what is handed over, and the exit code. The messages are in that table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

UNUSABLE, WRONG_USAGE = 1, 2
GOOD: Mapping[str, str] = MappingProxyType(
    {
        "--text": "今天天气真不错。",
        "--lang": "zh",
        "--ref": "reference.wav",
        "--ref-text": "这是一段参考音频的文本，请听。",
        "--ref-lang": "zh",
        "--gpt": "gpt.ckpt",
        "--sovits": "sovits.pth",
        "--hubert": "hubert",
        "--bert": "bert",
        "-o": "out.wav",
    }
)


@dataclass(frozen=True, slots=True)
class Case:
    """what: for the table. arguments: after `sovits-rt`. shown: those of them that matter, for the table.

    standard_input: bytes, or None. voices: the folder of bundled voices.
    """

    group: str
    what: str
    arguments: tuple[str, ...]
    shown: str
    code: int = UNUSABLE
    standard_input: bytes | None = None
    voices: str = "voices"

    @property
    def name(self) -> str:
        return f"{self.group}: {self.what}"


def synth(group: str, what: str, *extra: str, code: int = UNUSABLE, stdin: bytes | None = None,
          without: str = "", **changed: str) -> Case:  # fmt: skip
    """`synth` with good options but for those in `changed` (max_tokens is --max-tokens) and `extra`."""
    options = {f"--{name.replace('_', '-')}" if name != "o" else "-o": value for name, value in changed.items()}
    kept = {name: value for name, value in GOOD.items() if name not in without.split()}
    pairs = [word for name, value in {**kept, **options}.items() for word in (name, value)]
    shown = [shown_word(word) for pair in options.items() for word in pair]
    left_out = [f"no {name}" for name in without.split()]
    text = " ".join([*shown, *(shown_word(word) for word in extra)]) or ", ".join(left_out)
    return Case(group, what, ("synth", *pairs, *extra), text, code, stdin)


def command(group: str, what: str, *words: str, code: int = UNUSABLE) -> Case:
    return Case(group, what, words, " ".join(shown_word(word) for word in words), code)


def voice(what: str, *words: str, text: str = "Hello.", code: int = UNUSABLE, voices: str = "voices") -> Case:
    """`synth` with no models given."""
    arguments = ("synth", text, *words)
    shown = " ".join(shown_word(word) for word in arguments)
    return Case("bundled voices", what, (*arguments, "-o", "out.wav"), shown, code, voices=voices)


def evaluate(what: str, *words: str, code: int = UNUSABLE, voices: str = "voices") -> Case:
    """`evaluate` with the bundled voices."""
    shown = " ".join(("evaluate", *words))
    return Case("evaluation", what, ("evaluate", *words), shown, code, voices=voices)


def shown_word(word: str) -> str:
    shortened = word if len(word) <= 40 else f"{word[:30]}…"
    return shortened if shortened.strip() and " " not in shortened else f"'{shortened}'"


def usage(what: str, *extra: str, **changed: str) -> Case:
    return synth("options", what, *extra, code=WRONG_USAGE, **changed)


def place(what: str, **changed: str) -> Case:
    return synth("options", what, **changed)


MODELS = (
    synth("models", "no GPT file given", without="--gpt"),
    synth("models", "no SoVITS file given", without="--sovits"),
    synth("models", "missing file", gpt="gone.ckpt"),
    synth("models", "empty file", gpt="empty.ckpt"),
    synth("models", "truncated file", gpt="truncated.ckpt"),
    synth("models", "garbage", gpt="garbage.ckpt"),
    synth("models", "web page saved as a model", sovits="page.ckpt"),
    synth("models", "Git LFS pointer", sovits="pointer.ckpt"),
    synth("models", "safetensors file", gpt="gpt.safetensors"),
    synth("models", "folder instead of a file", gpt="folder"),
    synth("models", "T2S model given as SoVITS", sovits="gpt.ckpt"),
    synth("models", "SoVITS model given as T2S", gpt="sovits.pth"),
    synth("models", "v1 T2S with v2 SoVITS", gpt="gpt_v1.ckpt"),
    synth("models", "v2 T2S with v1 SoVITS", sovits="sovits_v1.pth"),
    synth("models", "pickle that runs a command", gpt="malicious.ckpt"),
    synth("models", "SoVITS v3", sovits="v3.pth"),
    synth("models", "LoRA file", sovits="lora.pth"),
    synth("models", "unknown version header", sovits="odd_header.pth"),
    synth("models", "training state", sovits="training.pth"),
    synth("models", "PyTorch file without a model", sovits="notes.pth"),
    synth("models", "no HuBERT folder given", without="--hubert"),
    synth("models", "missing HuBERT folder", hubert="gone"),
    synth("models", "file instead of the HuBERT folder", hubert="gpt.ckpt"),
    synth("models", "folder that is no model", hubert="folder"),
    synth("models", "BERT given as HuBERT", hubert="bert"),
    synth("models", "folder without weights", hubert="config_only"),
    synth("models", "HuBERT weights cut off", hubert="hubert_cut"),
    synth("models", "config.json that is not JSON", hubert="bad_json"),
    synth("models", "HuBERT of another width", hubert="hubert_small"),
    synth("models", "heads that do not divide HuBERT's width", hubert="hubert_heads"),
    synth("models", "SoVITS whose rates do not make its sampling rate", sovits="odd_rates.pth"),
    synth("models", "no BERT folder given for Chinese text", without="--bert"),
    synth("models", "HuBERT given as BERT", bert="hubert"),
    synth("models", "another language model as BERT", bert="gpt2"),
    synth("models", "v2Pro without speaker model", sovits="sovits_v2Pro.pth"),
    synth("models", "missing speaker model", sovits="sovits_v2Pro.pth", speaker="gone.ckpt"),
    synth("models", "SoVITS given as speaker model", sovits="sovits_v2Pro.pth", speaker="sovits.pth"),
    synth("models", "missing g2pW folder", g2pw="gone"),
    synth("models", "g2pW folder without the model", g2pw="folder"),
    synth("models", "--models folder without the files", without="--gpt --sovits --hubert --bert", models="folder"),
    synth("models", "unknown --model-version", models="folder", model_version="v9"),
    synth("models", "missing --config", config="gone.yaml"),
    synth("models", "--config that is not YAML", config="not.yaml"),
    synth("models", "--config without the section", config="no_section.yaml"),
    synth("models", "--config that names a missing file", config="gone_model.yaml"),
    command("models", "inspect: missing file", "inspect", "gone.ckpt"),
    command("models", "inspect: text file", "inspect", "page.ckpt"),
    command("models", "inspect: folder that is no model", "inspect", "folder"),
    command("models", "tune: missing file", "tune", "--gpt", "gone.ckpt", "--sovits", "sovits.pth"),
)
TEXTS = (
    synth("texts", "no text", without="--text", code=WRONG_USAGE),
    synth("texts", "empty", text=""),
    synth("texts", "only blanks", text="   "),
    synth("texts", "only punctuation", text="。。。！？"),
    synth("texts", "only emoji", text="😀🎉"),
    synth("texts", "unknown language", lang="klingon"),
    synth("texts", "unknown split method", split="cut9"),
    synth("texts", "a language that is not spoken", text="こんにちは、元気ですか。", lang="auto"),
    synth("texts", "missing file", without="--text", text_file="gone.txt"),
    synth("texts", "file that is not UTF-8", without="--text", text_file="gbk.txt"),
    synth("texts", "empty file", without="--text", text_file="empty.txt"),
    synth("texts", "folder", without="--text", text_file="folder"),
    synth("texts", "standard input that is not UTF-8", text="-", stdin="今天天气真不错。".encode("gbk")),
    synth("texts", "empty standard input", text="-", stdin=b""),
    synth("texts", "unfinished pause", text="你好[pause:1s，再见。"),
    synth("texts", "pause without a unit", text="你好[pause:5]再见。"),
    synth("texts", "pause of ten minutes", text="你好[pause:600s]再见。"),
    synth("texts", "too few syllables", text="[重庆](/chong2/)很大。"),
    synth("texts", "no such syllable", text="[重庆](/chong9 qing4/)很大。"),
    synth("texts", "no such phone", text="A [word](/QQ1/) here.", lang="en"),
    synth("texts", "empty pronunciation", text="[重庆](//)很大。"),
    synth("texts", "pronunciation of a mark", text="[…](/chong2/)很大。"),
    synth("texts", "sentence without end, not cut", text="天" * 600, split="cut0"),
    synth("texts", "English without end, not cut", text="word " * 3000, lang="en", split="cut0"),
    synth("texts", "missing dictionary", dictionary="gone.yaml"),
    synth("texts", "dictionary that is not YAML", dictionary="broken.yaml"),
    synth("texts", "dictionary that is a list", dictionary="list.yaml"),
    synth("texts", "dictionary with a mark as word", dictionary="symbol.yaml"),
    synth("texts", "dictionary with a number as word", dictionary="number.yaml"),
    synth("texts", "dictionary with too few syllables", dictionary="short.yaml"),
    synth("texts", "dictionary with no such syllable", dictionary="pinyin.yaml", text="重庆很大。"),
    synth("texts", "dictionary with no such phone", dictionary="arpabet.yaml", text="A word here.", lang="en"),
    synth("texts", "reference text of blanks", ref_text="  "),
    synth("texts", "reference text of punctuation", ref_text="。。。"),
    synth("texts", "unknown language of the reference", ref_lang="klingon"),
    command("texts", "text: unknown language", "text", "hello", "--lang", "xx"),
    command("texts", "text: unknown symbols", "text", "hello", "--symbols", "v7", code=WRONG_USAGE),
)
RECORDINGS = (
    synth("recordings", "none given", without="--ref", code=WRONG_USAGE),
    synth("recordings", "missing", ref="gone.wav"),
    synth("recordings", "folder", ref="folder"),
    synth("recordings", "text file", ref="text.wav"),
    synth("recordings", "empty file", ref="empty.wav"),
    synth("recordings", "header only", ref="cut.wav"),
    synth("recordings", "no samples", ref="none.wav"),
    synth("recordings", "1 second", ref="one_second.wav"),
    synth("recordings", "15 seconds", ref="fifteen_seconds.wav"),
    synth("recordings", "silent", ref="silent.wav"),
    synth("recordings", "samples that are no numbers", ref="nan.wav"),
    synth("recordings", "absurd sample rate", ref="slow.wav"),
    synth("recordings", "second one missing", "--ref", "gone.wav"),
    synth("recordings", "second one is a text file", "--ref", "text.wav"),
    synth("recordings", "second one silent", "--ref", "silent.wav"),
    synth("recordings", "second one of a few samples", "--ref", "blip.wav"),
    synth("recordings", "rate that can't be resampled", ref="odd_rate.wav"),
)
OPTIONS = (
    usage("--top-k 0", top_k="0"),
    usage("--top-p 0", top_p="0"),
    usage("--top-p above 1", top_p="1.5"),
    usage("--top-p nan", top_p="nan"),
    usage("--temperature below 0", temperature="-1"),
    usage("--repetition-penalty 0", repetition_penalty="0"),
    usage("--speed 0", speed="0"),
    usage("--speed 9", speed="9"),
    usage("--seed below 0", seed="-1"),
    usage("--max-tokens 0", max_tokens="0"),
    usage("--noise-scale below 0", noise_scale="-1"),
    usage("--pause below 0", pause="-1"),
    place("unknown suffix of -o", o="out.aiff"),
    place("-o without suffix", o="out"),
    place("-o in a missing folder", o="gone/out.wav"),
    place("-o is a folder", o="folder"),
    place("-o is a folder with a suffix", o="folder.wav"),
    place("-o can't be written", o="locked/out.wav"),
    place("--dump in a missing folder", dump="gone/out.npz"),
    place("--dump is a folder", dump="folder"),
    place("--dump can't be written", dump="locked/out.npz"),
    usage("unknown option", "--louder"),
    usage("a word as a number", top_k="many"),
    usage("two texts", "再说一句。"),
    usage("--tune-budget 1", tune_budget="1"),
    usage("--models and --config", models="folder", config="tts_infer.yaml"),
    command("options", "unknown command", "sing", code=WRONG_USAGE),
    command("options", "no value", "synth", "--text", code=WRONG_USAGE),
    command("options", "inspect without a path", "inspect", code=WRONG_USAGE),
    command("options", "tune: --trials 0", "tune", "--trials", "0", code=WRONG_USAGE),
)
PROFILES = (
    synth("profiles", "unknown id", profile="nobody"),
    synth("profiles", "missing file", profile="gone.profile.yaml"),
    synth("profiles", "damaged file", profile="damaged.profile.yaml"),
    synth("profiles", "not a profile", profile="list.profile.yaml"),
    synth("profiles", "of a newer release", profile="future.profile.yaml"),
    synth("profiles", "unknown key", profile="unknown_key.profile.yaml"),
    synth("profiles", "unknown knob", profile="unknown_knob.profile.yaml"),
    synth("profiles", "value not allowed here", profile="not_allowed.profile.yaml"),
    synth("profiles", "for a device that is not here", profile="other_device.profile.yaml"),
    synth("profiles", "sets LD_PRELOAD", profile="hostile.profile.yaml"),
    synth("profiles", "rejected when measured", profile="rejected.profile.yaml"),
    synth("profiles", "verified without evidence", profile="no_evidence.profile.yaml"),
    synth("profiles", "--set without =", "--set", "semantic.slots", code=WRONG_USAGE),
    synth("profiles", "--set of an unknown knob", "--set", "semantic.slot=8"),
    synth("profiles", "--set of a group", "--set", "semantic=8"),
    synth("profiles", "--set to a bad value", "--set", "semantic.slots=5"),
    synth("profiles", "--set to a device that is not here", "--set", "process.device=cuda"),
    synth("profiles", "--set to an unknown backend", "--set", "semantic.backend=magic"),
    command("profiles", "profile show: unknown id", "profile", "show", "nobody"),
    command("profiles", "profile show: missing file", "profile", "show", "gone.profile.yaml"),
    *(
        command("profiles", f"profile import: {what}", "profile", "import", f"{file}.profile.yaml")
        for what, file in (
            ("missing file", "gone"),
            ("damaged file", "damaged"),
            ("cut off", "cut_off"),
            ("larger than a profile may be", "huge"),
            ("aliases that multiply", "bomb"),
            ("a tag that makes an object", "tag"),
            ("of a newer release", "future"),
            ("unknown key", "unknown_key"),
            ("unknown knob", "unknown_knob"),
            ("an id that leads elsewhere", "traversal"),
            ("sets LD_PRELOAD", "hostile"),
            ("sets a variable that knobs set", "variable"),
            ("rejected when measured", "rejected"),
            ("names a person", "private"),
        )
    ),
    command("profiles", "profile export: unknown id", "profile", "export", "nobody", "mine.yaml"),
    command("profiles", "profile export: onto a file", "profile", "export", "good.profile.yaml", "list.yaml"),
    command("profiles", "profile export: onto a folder", "profile", "export", "good.profile.yaml", "folder"),
    command("profiles", "profile export: missing folder", "profile", "export", "good.profile.yaml", "gone/mine.yaml"),
    command("profiles", "profile export: no file", "profile", "export", "good.profile.yaml", code=WRONG_USAGE),
    command("profiles", "profile explain: unknown id", "profile", "explain", "nobody"),
    command("profiles", "profile explain: --set of an unknown knob", "profile", "explain", "--set", "semantic.slot=8"),
    command("profiles", "profile explain: rejected", "profile", "explain", "rejected.profile.yaml"),
    command("profiles", "profile diff: unknown id", "profile", "diff", "default", "nobody"),
    command("profiles", "profile diff: unknown knob", "profile", "diff", "default", "unknown_knob.profile.yaml"),
    command("profiles", "profile diff: one profile", "profile", "diff", "default", code=WRONG_USAGE),
    command("profiles", "profile verify: unknown id", "profile", "verify", "nobody"),
    command("profiles", "profile verify: none known", "profile", "verify"),
    command("profiles", "profile verify: unknown knob", "profile", "verify", "unknown_knob.profile.yaml"),
    command("profiles", "profile verify: the defaults", "profile", "verify", "defaults.profile.yaml"),
    command("profiles", "profile verify: compiled code in 90 s", "profile", "verify", "compiled.profile.yaml"),
    command("profiles", "profile verify: --budget 1", "profile", "verify", "--budget", "1", code=WRONG_USAGE),
    command("profiles", "tune: --scenario speed", "tune", "--scenario", "speed", code=WRONG_USAGE),
    command("profiles", "tune: low-memory without --memory", "tune", "--scenario", "low-memory", code=WRONG_USAGE),
    command("profiles", "tune: --memory for another scenario", "tune", "--memory", "1G", code=WRONG_USAGE),
    command(
        "profiles", "tune: --memory lots", "tune", "--scenario", "low-memory", "--memory", "lots", code=WRONG_USAGE
    ),
)
VOICES = (
    voice("none in this build", voices="gone"),
    Case("bundled voices", "tune: none in this build", ("tune",), "tune", voices="gone"),
    voice("unknown name", "--voice", "nobody"),
    voice("--voice with models", "--voice", "en-first", "--gpt", "gpt.ckpt", code=WRONG_USAGE),
    voice("--voice with a folder of models", "--voice", "en-first", "--models", "folder", code=WRONG_USAGE),
    command("bundled voices", "tune: --voice with models", "tune", "--voice", "x", "--gpt", "y", code=WRONG_USAGE),
    voice("--ref-text without a recording", "--ref-text", "Hello.", code=WRONG_USAGE),
    voice("--ref-lang without a recording", "--ref-lang", "en", code=WRONG_USAGE),
    voice("own models without a recording", "--gpt", "gpt.ckpt", "--sovits", "sovits.pth", code=WRONG_USAGE),
    voice("Chinese text for an English voice", text="天气真不错。"),
    voice("Chinese text, language to be found", "--lang", "auto", text="天气真不错。"),
    voice("a language that the voice does not speak", "--lang", "zh"),
    voice("unknown language", "--lang", "klingon"),
    voice("Chinese reference text", "--ref", "reference.wav", "--ref-text", "参考"),
    voice("Chinese reference", "--ref", "reference.wav", "--ref-text", "Hello.", "--ref-lang", "zh"),
    voice("recording of 1 second", "--ref", "one_second.wav"),
    voice("option out of range", "--top-k", "0", code=WRONG_USAGE),
    voice("prepared with another SoVITS model", voices="foreign_voice"),
    voice("damaged prepared voice", voices="damaged_voice"),
    voice("damaged model", voices="damaged_model"),
    voice("HuBERT of another width", "--ref", "reference.wav", "--ref-text", "Hello.", voices="other_hubert"),
    voice("a file is missing", voices="missing_file"),
    voice("voices.yaml is not YAML", voices="not_yaml"),
    voice("voices.yaml is a list", voices="a_list"),
    voice("voices.yaml has an unknown key", voices="unknown_key"),
    voice("voices.yaml is of a newer release", voices="newer"),
    voice("voices.yaml names no voice as default", voices="no_default"),
    voice("voices.yaml has an unknown language", voices="unknown_language"),
    voice("voices.yaml has sampling out of range", voices="bad_sampling"),
    voice("two voices of one name", voices="twins"),
    Case("bundled voices", "--list-voices of a damaged model", ("synth", "--list-voices"), "synth --list-voices",
         voices="damaged_model"),
)  # fmt: skip
MONITOR = (
    command("monitor", "neither a process nor a command", "monitor", code=WRONG_USAGE),
    command("monitor", "a process and a command", "monitor", "--pid", "1", "ls", code=WRONG_USAGE),
    command("monitor", "process that is not there", "monitor", "--pid", "2147483646"),
    command("monitor", "process number of words", "monitor", "--pid", "many", code=WRONG_USAGE),
    command("monitor", "process 0", "monitor", "--pid", "0", code=WRONG_USAGE),
    command("monitor", "command that is not there", "monitor", "--", "no-such-program"),
    command("monitor", "command that is no program", "monitor", "--", "./text.wav"),
    command("monitor", "command that is a folder", "monitor", "--", "./folder"),
    usage("--stats-sync without --stats", "--stats-sync"),
)
EVALUATION = (
    evaluate("missing list", "--sentences", "gone.txt"),
    evaluate("list that is not UTF-8", "--sentences", "gbk.txt"),
    evaluate("empty list", "--sentences", "empty.txt"),
    evaluate("list with digits", "--sentences", "digits.txt"),
    evaluate("list without English", "--sentences", "chinese.txt"),
    evaluate("more sentences than there are", "--count", "1000"),
    evaluate("nothing to judge", "--count", "0", code=WRONG_USAGE),
    evaluate("--digits 0", "--digits", "0", code=WRONG_USAGE),
    evaluate("missing folder of recordings", "--recordings", "gone"),
    evaluate("folder without recordings", "--recordings", "folder"),
    evaluate("folder without the digits", "--count", "0", "--digits", "3", "--recordings", "folder"),
    evaluate("missing folder of the teacher", "--against", "gone"),
    evaluate("teacher's folder without recordings", "--against", "folder"),
    evaluate("recordings and a voice", "--recordings", "folder", "--voice", "en-first", code=WRONG_USAGE),
    evaluate("unknown voice", "--voice", "nobody"),
    evaluate("own models without a recording", "--gpt", "gpt.ckpt", "--sovits", "sovits.pth", code=WRONG_USAGE),
    evaluate("unknown profile", "--profile", "nobody"),
    evaluate("no voice in this build", voices="gone"),
)
TUNED = ("tune", "--gpt", "gpt.ckpt", "--sovits", "sovits.pth")
SESSIONS = (
    command("sessions", "tune: unknown --effort", *TUNED, "--effort", "huge", code=WRONG_USAGE),
    command("sessions", "tune: --resume without --session", *TUNED, "--resume", code=WRONG_USAGE),
    command("sessions", "tune: nothing to resume", *TUNED, "--session", "folder", "--resume"),
    command("sessions", "tune: file as --session", *TUNED, "--session", "text.wav"),
    command("sessions", "tune: folder as --report", *TUNED, "--report", "folder", code=WRONG_USAGE),
    command("sessions", "tune: --report in a missing folder", *TUNED, "--report", "gone/a.html", code=WRONG_USAGE),
    command("sessions", "report: missing folder", "report", "gone"),
    command("sessions", "report: folder without a session", "report", "folder"),
)
CASES = (*MODELS, *TEXTS, *RECORDINGS, *OPTIONS, *PROFILES, *VOICES, *SESSIONS, *MONITOR, *EVALUATION)
