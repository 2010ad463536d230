"""The same sentences as `sovits-rt evaluate`, read by a voice of flite: what a bundled voice is compared with.

    python tools/demo_voice/teacher.py build/teacher --voice rms --digits 60
    sovits-rt evaluate --voice en-rms --digits 60 --against build/teacher

Needs flite.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from sovits_rt.errors import SovitsError
from sovits_rt.evaluation.sentences import JUDGED, digit_strings, own_sentences, sentences_in
from sovits_rt.evaluation.speech import file_name


def flite(*arguments: str) -> str:
    """Standard output. Ends the program if flite is missing or fails."""
    try:
        done = subprocess.run(["flite", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("teacher.py: flite is not installed; install it, on Debian and Ubuntu with apt-get install flite.")
    if done.returncode:
        sys.exit(f"teacher.py: flite {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def read_out(texts: list[str], voice: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts, start=1):
        flite("-voice", voice, "-t", text, "-o", str(folder / file_name(number)))
    print(f"{folder}: {len(texts)} recordings of {voice}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where 001.wav, 002.wav, … are written")
    parser.add_argument("--voice", default="rms", help="a voice of flite -lv; default rms")
    parser.add_argument("--sentences", type=Path, help="UTF-8 file, one per line; default: those of evaluate")
    parser.add_argument("--count", type=int, help="only the first of them")
    parser.add_argument("--digits", type=int, default=0, help="also as many strings of digits, into digits/")
    options = parser.parse_args()
    if options.count is not None and options.count < 1:
        parser.error(f"--count is {options.count}; give 1 or more")
    known = flite("-lv").partition(":")[2].split()
    if options.voice not in known:
        sys.exit(f"teacher.py: flite has no voice {options.voice!r}; it has {', '.join(known)}.")
    try:
        if options.sentences is not None:
            content = options.sentences.read_text(encoding="utf-8-sig")
            texts = sentences_in(content, str(options.sentences), options.count)
        else:
            texts = own_sentences(options.count or JUDGED)
        read_out(texts, options.voice, options.folder)
    except (SovitsError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"teacher.py: {error}")
    if options.digits > 0:
        read_out(digit_strings(options.digits), options.voice, options.folder / "digits")


if __name__ == "__main__":
    main()
