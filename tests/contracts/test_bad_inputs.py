"""Every bad input gets one sentence and an exit code, through the command's real entry point, before any long work.

`SOVITS_RT_WRITE_DOCS=1 pytest tests/contracts/test_bad_inputs.py` writes docs/bad-inputs.md from what it sees.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from bad_files import HERE, REPOSITORY, write_all
from bad_inputs import CASES, Case

from sovits_rt import bundled, selection
from sovits_rt.cli import profile, synth
from sovits_rt.cli.main import main

for needed in ("jieba", "pypinyin", "split_lang", "nltk"):
    pytest.importorskip(needed)

TABLE = REPOSITORY / "docs" / "bad-inputs.md"
WRITE_VARIABLE = "SOVITS_RT_WRITE_DOCS"
PREFIX = "sovits-rt: "
GOOD_MODELS = {
    "gpt.ckpt": "t2s_v2",
    "gpt_v1.ckpt": "t2s_v1",
    "sovits.pth": "sovits_v2",
    "sovits_v1.pth": "sovits_v1",
    "sovits_v2Pro.pth": "sovits_v2Pro",
    "hubert": "hubert",
    "bert": "bert",
}
ENDS_A_SENTENCE = re.compile(r"[.!?] +[A-Z]")
IN_SUBPROCESS = (
    "models: empty file",
    "texts: only blanks",
    "recordings: silent",
    "options: two texts",
    "profiles: unknown id",
)
SEEN: dict[str, str] = {}
HEAD = """# Bad inputs

What `sovits-rt` answers when a file, a text, a recording, an option or a profile is not usable: one sentence on
standard error, nothing on standard output, no output file. Exit code 1: something handed over is not usable. Exit code
2: wrong usage. Everything here is found before models are loaded and before anything is tuned.

This table is written and run by `tests/contracts/test_bad_inputs.py`; `SOVITS_RT_WRITE_DOCS=1` in its environment
writes it again. Each line is a `sovits-rt synth` whose other options are good, unless it names another command.
"""


@pytest.fixture(scope="module")
def folder(golden: Any, small_voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bad")
    for name, which in GOOD_MODELS.items():
        (place / name).symlink_to(golden.checkpoint(which).resolve())
    (place / "voices").symlink_to(small_voices)
    (place / "reference.wav").symlink_to(golden.wav("zh_32k"))
    write_all(place)
    return place


@pytest.fixture(autouse=True)
def elsewhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs in the folder of bad files, with the user's own folders elsewhere and a machine that is always the same."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    for command in (synth, profile):
        monkeypatch.setattr(command, "probe", lambda: HERE)
    monkeypatch.setattr(selection, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr(synth, "tune_and_store", refuse_to_tune)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse_locked(tempfile.TemporaryFile))
    return tmp_path / "home"


def refuse_to_tune(*_: object, **__: object) -> None:
    raise AssertionError("tuning was started before the input was found to be bad")


def refuse_locked(real: Any) -> Any:
    """For the superuser no folder is locked, so the folder of that name is locked here."""

    def temporary_file(*arguments: Any, **options: Any) -> Any:
        if Path(options.get("dir", ".")).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(*arguments, **options)

    return temporary_file


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def answer(case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    monkeypatch.setattr(bundled, "folder", lambda: Path(case.voices))
    monkeypatch.setattr(sys, "argv", ["sovits-rt", *case.arguments])
    if case.standard_input is not None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.standard_input)))
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, shown.out, shown.err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_and_the_exit_code(
    case: Case, folder: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    code, out, err = answer(case, monkeypatch, capsys)
    print(err)
    assert (code, out) == (case.code, "")
    check_sentence(err)
    assert contents(folder) == before
    assert not elsewhere.exists()
    SEEN[case.name] = err.removeprefix(PREFIX).rstrip()


def check_sentence(err: str) -> None:
    assert err.startswith(PREFIX)
    assert err.endswith((".\n", "?\n"))
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not ENDS_A_SENTENCE.search(err)


def test_the_table_is_up_to_date() -> None:
    """Runs after the cases, which have put down what was said."""
    if len(SEEN) < len(CASES):
        pytest.skip("compares what all cases said, so they must run too")
    if os.environ.get(WRITE_VARIABLE):
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table(), encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == table(), f"run this file once with {WRITE_VARIABLE}=1"


def table() -> str:
    lines = [HEAD]
    for group in dict.fromkeys(case.group for case in CASES):
        lines += [f"## {group.capitalize()}\n", "| what | arguments | exit code | message |", "|---|---|---|---|"]
        for case in CASES:
            if case.group == group:
                cells = (case.what, f"`{cell(case.shown)}`", str(case.code), cell(SEEN[case.name]))
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_there_are_cases_of_every_kind() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.code for case in CASES} == {1, 2}


@pytest.mark.parametrize("name", IN_SUBPROCESS)
def test_the_same_from_outside(name: str, folder: Path, elsewhere: Path) -> None:
    (case,) = (case for case in CASES if case.name == name)
    done = subprocess.run(
        [sys.executable, "-m", "sovits_rt", *case.arguments],
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(elsewhere), "XDG_CACHE_HOME": str(elsewhere)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (case.code, "")
    check_sentence(done.stderr)
    if SEEN:
        assert done.stderr.removeprefix(PREFIX).rstrip() == SEEN[name]
    assert not (folder / "out.wav").exists()
