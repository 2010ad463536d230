"""Building a source at first use: what is kept, and what is said where it fails."""

import ctypes
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotune.probe import probe
from sovits_rt.backends._native import build
from sovits_rt.backends.native import Native
from sovits_rt.errors import SettingsError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "small.cpp"
    path.write_text('extern "C" __attribute__((visibility("default"))) int answer() { return ANSWER; }')
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Puts a script in the place of every compiler."""

    def install(script: str) -> Path:
        path = tmp_path / "bin" / "g++"
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setattr(shutil, "which", lambda name: str(path) if name == "g++" else None)
        return path

    return install


def answer(library: ctypes.CDLL) -> int:
    found: int = library.answer()
    return found


def needs_a_compiler():
    if build.find_compiler() is None:
        pytest.skip("no C++ compiler")


def test_a_library_is_built_once(source, folder, monkeypatch):
    needs_a_compiler()
    assert answer(build.load(source, ["-DANSWER=42"], folder)) == 42
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built again"))
    assert answer(build.load(source, ["-DANSWER=42"], folder)) == 42


def test_another_source_flag_or_compiler_is_another_library(source, folder, monkeypatch):
    needs_a_compiler()
    assert answer(build.load(source, ["-DANSWER=1"], folder)) == 1
    assert answer(build.load(source, ["-DANSWER=2"], folder)) == 2
    source.write_text(source.read_text().replace("ANSWER", "ANSWER + 10"))
    assert answer(build.load(source, ["-DANSWER=2"], folder)) == 12
    run = build._run
    monkeypatch.setattr(build, "_run", lambda command: run(command) + ("#define NEWER" if "-dM" in command else ""))
    assert answer(build.load(source, ["-DANSWER=2"], folder)) == 12
    assert len(list(folder.iterdir())) == 4


def test_who_builds_at_once_gets_whole_libraries(source, folder):
    needs_a_compiler()
    with ThreadPoolExecutor(4) as executor:
        found = executor.map(lambda _: answer(build.load(source, ["-DANSWER=3"], folder)), range(4))
        assert list(found) == [3] * 4
    assert len(list(folder.iterdir())) == 1


def test_a_source_that_does_not_compile(source, folder):
    needs_a_compiler()
    with pytest.raises(SettingsError, match=r"failed \(.*ANSWER.*\); repair the compiler, or choose another"):
        build.load(source, [], folder)
    assert list(folder.iterdir()) == [], "nothing half-made is left"


def test_a_compiler_that_fails(source, folder, compiler):
    path = compiler("#!/bin/sh\necho 'fatal error: no space left on device' >&2\nexit 1\n")
    with pytest.raises(SettingsError) as caught:
        build.load(source, [], folder)
    assert str(caught.value).startswith(f"The C++ compiler {path} failed (fatal error: no space left on device); ")


def test_a_compiler_that_is_none(source, folder, compiler):
    path = compiler("not a program")
    path.write_bytes(b"\x7fELF nothing")
    with pytest.raises(SettingsError, match="can't be run"):
        build.load(source, [], folder)


def test_a_library_that_is_none(source, folder):
    needs_a_compiler()
    build.load(source, ["-DANSWER=1"], folder)
    (library,) = folder.iterdir()
    damaged = folder.parent / "damaged"
    damaged.mkdir()
    (damaged / library.name).write_text("no library")
    with pytest.raises(SettingsError, match=r"can't be kept in .* or loaded from there"):
        build.load(source, ["-DANSWER=1"], damaged)


def test_a_folder_that_can_not_be_written(source, tmp_path):
    needs_a_compiler()
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="can't be kept in"):
        build.load(source, ["-DANSWER=1"], tmp_path / "file" / "folder")


def test_without_a_compiler(source, folder, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert (
        Native().unavailable(probe())
        == "the native backend needs a C++ compiler (g++, c++, clang++) and none was found"
    )
    with pytest.raises(SettingsError, match="needs a C\\+\\+ compiler"):
        build.load(source, [], folder)
