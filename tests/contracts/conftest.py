"""sovits-rt in this process."""

import io
import os
import sys
from pathlib import Path

import pytest
from bad_files import HERE
from running import Answer, Run

from sovits_rt import bundled, process, selection
from sovits_rt.cli import synth
from sovits_rt.cli.main import main
from sovits_rt.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folders, shared so that a voice is prepared once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """sovits-rt in this process, in an empty folder; what it sets for the process is undone."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    for name in process.environment(Settings().process, HERE):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selection, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr(bundled, "folder", lambda: tmp_path / "no voices")
    monkeypatch.setattr(synth, "tune_and_store", not_expected)
    # The threads of the test process stay as they are: two on two busy cores take four times as long as one.
    monkeypatch.setattr(process, "set_threads", lambda *_: None)

    def answer(*arguments: str | Path, stdin: bytes | None = None) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sovits-rt", *(str(each) for each in arguments)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        shown = capsys.readouterr()
        print(shown.err)
        return Answer(code, shown.out, shown.err)

    return answer


def not_expected(*_: object, **__: object) -> None:
    raise AssertionError("tuning was started")
