"""The READMEs say what is: examples run, options and files exist, generated tables are current.

`SOVITS_RT_WRITE_DOCS=1 pytest tests/test_documentation.py` writes the tables again.
"""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import soundfile

from autotune import knobs
from sovits_rt.cli.job import Job
from sovits_rt.cli.main import cli
from sovits_rt.selection import shipped_folder
from sovits_rt.settings import Settings
from sovits_rt.text.language import LANGUAGES
from sovits_rt.versions import VERSIONS

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
WRITE_VARIABLE = "SOVITS_RT_WRITE_DOCS"
KNOB_HEADS = {
    "README.md": ("knob", "values", "default", "exact", "what it is"),
    "README.zh.md": ("旋钮", "取值", "默认", "精确", "含义"),
}
KNOBS = re.compile(r"(<!-- knobs: [^\n]*-->\n).*?(<!-- /knobs -->)", re.DOTALL)
TREE = re.compile(r"<!-- tree -->\n```\n(.*?)```", re.DOTALL)
PYTHON_NAMES = {
    "voice.ckpt": "t2s_v2_eos",
    "voice.pth": "sovits_v2",
    "chinese-hubert-base": "hubert",
    "chinese-roberta-wwm-ext-large": "bert",
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(name), re.DOTALL | re.MULTILINE)


def running_text(name: str) -> str:
    return re.sub(r"^```.*?^```", "", read(name), flags=re.DOTALL | re.MULTILINE)


def commands(name: str) -> Iterator[list[str]]:
    """Every command of the shell blocks, cut into words, without leading assignments."""
    for block in blocks(name, "sh"):
        for line in block.splitlines():
            words = shlex.split(line)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                while command and re.match(r"[A-Z_]+=", command[0]):
                    command = command[1:]
                yield command


def parsed(words: list[str]) -> click.Context:
    """The command that `sovits-rt …` would run, with its values; usage errors are raised."""
    group: click.Command = cli
    context = click.Context(cli)
    while isinstance(group, click.Group):
        name, *words = words
        found = group.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        group = found
    return group.make_context(name, words, parent=context)


def all_options(command: click.Command) -> set[str]:
    own = {name for parameter in command.params for name in parameter.opts}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*(all_options(each) for each in inner))


def knob_table(heads: tuple[str, ...]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in knobs.describe(Settings):
        exact = "✓" if row.exact else ""
        lines.append(f"| `{row.path}` | {row.allowed} | {row.default} | {exact} | {row.doc} |")
    return "\n".join(lines) + "\n"


def requirement_name(text: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", text)
    assert found is not None
    return found[0].lower()


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_knobs_is_current(name):
    text = read(name)
    wanted = KNOBS.sub(lambda match: match[1] + knob_table(KNOB_HEADS[name]) + match[2], text)
    if os.environ.get(WRITE_VARIABLE):
        (ROOT / name).write_text(wanted, encoding="utf-8")
    assert knob_table(KNOB_HEADS[name]) in read(name), f"write it again with {WRITE_VARIABLE}=1"


@pytest.mark.parametrize("language", ["sh", "python"])
def test_both_languages_show_the_same_code(language):
    assert blocks("README.md", language)
    assert blocks("README.md", language) == blocks("README.zh.md", language)


def test_the_python_example_runs(golden, tmp_path, monkeypatch):
    for name, checkpoint in PYTHON_NAMES.items():
        (tmp_path / name).symlink_to(golden.checkpoint(checkpoint))
    (tmp_path / "voice.wav").symlink_to(golden.wav("zh_32k"))
    monkeypatch.chdir(tmp_path)
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})
    sound, rate = soundfile.read("out.wav")
    print(f"{len(sound) / rate:.2f} s of sound")
    assert rate == 32_000
    assert len(sound) > rate
    assert abs(sound).max() > 0


def test_shell_examples_are_understood():
    """Commands and options exist and their values have the right type; the files are not looked for."""
    ours = [words[1:] for words in commands("README.md") if words[0] == "sovits-rt"]
    assert {words[0] for words in ours} >= {"synth", "text", "tune", "probe", "profile"}
    for words in ours:
        context = parsed(words)
        print(context.command_path, sorted(key for key, value in context.params.items() if value))


@pytest.mark.parametrize("name", [*READMES, "tests/README.md", "CONTRIBUTING.md", "profiles/README.md"])
def test_options_in_running_text_exist(name):
    spans = re.findall(r"`([^`\n]+)`", running_text(name))
    mentioned = {option for span in spans for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", span)}
    assert mentioned <= all_options(cli)


def test_the_first_command_can_be_spoken():
    """Everything that `synth` checks before it tunes and loads, with the voice that comes with the package."""
    speak = next(words for words in commands("README.md") if words[:2] == ["sovits-rt", "synth"])
    job = Job.of(parsed(speak[1:]).params)
    assert {segment.lang for sentence in job.sentences for segment in sentence.segments} == {"en"}
    assert job.voice is not None
    assert job.output == "hello.wav"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is needed")
def test_the_automatic_check_runs_the_commands_of_the_readme():
    shown = subprocess.run(["bash", str(ROOT / ".ci" / "run"), "--show"], capture_output=True, text=True, check=True)
    install, *checks, test = shown.stdout.splitlines()
    assert checks == ["ruff check .", "ruff format --check .", "mypy"]
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    assert f"python3 -m venv .venv && . .venv/bin/activate && {install} && {test}" in lines


@pytest.mark.parametrize("name", [*READMES, "tests/README.md", "CONTRIBUTING.md", "THIRD_PARTY.md"])
def test_links_lead_somewhere(name):
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", read(name), flags=re.DOTALL | re.MULTILINE)
    ):
        if not target.startswith(("https://", "/")):  # [字](/zi4/) is a pronunciation
            assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", READMES)
def test_the_tree_names_what_exists(name):
    found = TREE.search(read(name))
    assert found is not None
    folder = ROOT
    count = 0
    for line in found[1].splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if not line.startswith(" "):
            folder = ROOT / names[0]
            names = ["."]
        for each in names:
            assert (folder / each).exists(), f"{name}: {folder.name}/{each}"
            assert not each.endswith("/") or (folder / each).is_dir()
            count += 1
    assert count > 30


@pytest.mark.parametrize("name", READMES)
def test_paths_of_plugins_exist(name):
    paths = re.findall(r"`([a-z_]+/[a-z0-9_/]+)<[^`]*`", read(name))
    assert len(paths) == 4
    for path in paths:
        assert (ROOT / path).is_dir(), path


@pytest.mark.parametrize("name", READMES)
def test_versions_and_languages_are_named(name):
    assert f"| {', '.join(VERSIONS)} |" in read(name)
    (row,) = [line for line in read(name).splitlines() if line.startswith("| `zh`")]
    assert set(re.findall(r"`([a-z_]+)`", row)) == set(LANGUAGES)


def test_third_party_data_and_packages_are_listed():
    text = read("THIRD_PARTY.md")
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    packages = {requirement_name(each) for group in (project["dependencies"], *extras.values()) for each in group}
    listed = {word.lower() for word in re.findall(r"[A-Za-z0-9_.-]+", text)}
    assert packages - {"sovits-rt"} <= listed
    for file in (ROOT / "sovits_rt" / "text" / "data").iterdir():
        assert f"`{file.name}`" in text


def test_this_installation_has_its_profiles_and_data():
    folder = shipped_folder()
    print(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == read("profiles/README.md")
    assert importlib.metadata.version("sovits-rt")


@pytest.mark.full
def test_a_wheel_has_its_profiles_and_data(tmp_path):
    """Builds one (the build backend comes from the package index) and runs from it, away from the checkout."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    data = ROOT / "sovits_rt" / "data"
    for file in (each for each in data.rglob("*") if each.is_file()):
        assert (tmp_path / "unpacked" / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
    program = (
        "import sovits_rt; from sovits_rt.selection import shipped_folder; from sovits_rt import text;"
        "print(sovits_rt.__file__); print(*sorted(each.name for each in shipped_folder().iterdir()));"
        "print(text.prepare('重庆 reads.', 'zh')[0].norm_text)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "unpacked")}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    print(answer.stdout)
    place, profiles, spoken = answer.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path)
    assert profiles.split() == sorted(each.name for each in (ROOT / "profiles").iterdir())
    assert spoken.startswith("重庆")
