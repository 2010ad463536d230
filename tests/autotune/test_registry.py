from pathlib import Path

import pytest

from autotune.errors import AutotuneError
from autotune.registry import plugins


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An importable folder of plug-ins with a name of its own per test."""
    place = tmp_path / f"plugs_{abs(hash(request.node.name))}"
    place.mkdir()
    (place / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return place


def test_one_file_is_one_plugin(folder: Path) -> None:
    (folder / "beta.py").write_text("THING = 2")
    (folder / "alpha.py").write_text("THING = 1")
    (folder / "_helper.py").write_text("raise RuntimeError")
    found = plugins(folder.name, "THING")
    assert list(found.items()) == [("alpha", 1), ("beta", 2)]


def test_a_file_that_does_not_import_is_named(folder: Path) -> None:
    (folder / "broken.py").write_text("import surely_not_there")
    with pytest.raises(AutotuneError, match=r"broken\.py does not import: ModuleNotFoundError"):
        plugins(folder.name, "THING")


def test_a_syntax_error_is_named(folder: Path) -> None:
    (folder / "typo.py").write_text("def (")
    with pytest.raises(AutotuneError, match=r"typo\.py does not import: SyntaxError"):
        plugins(folder.name, "THING")


def test_a_file_without_the_attribute_is_named(folder: Path) -> None:
    (folder / "empty.py").write_text("")
    with pytest.raises(AutotuneError, match=r"empty\.py does not define THING"):
        plugins(folder.name, "THING")


def test_a_module_is_no_folder() -> None:
    with pytest.raises(AutotuneError, match="not a folder"):
        plugins("autotune.errors", "THING")


def test_device_kinds_are_the_files() -> None:
    found = plugins("autotune.devices", "DEVICE")
    assert {name: device.kind for name, device in found.items()} == {n: n for n in ("cpu", "cuda", "mps", "rocm")}
