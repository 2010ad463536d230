"""What importing brings into a process, asked of real children; and torch's own list of architectures in its file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autotune.probe.loaded import _under_way, after_importing
from autotune.probe.software import openmp
from autotune.reader import Live, kernel_list

LIST = b"junk\0sm_75 sm_80 sm_90a compute_120\0\0more"


def test_torch_loads_one_openmp_runtime() -> None:
    """Or none, where it brings its own threads."""
    found = after_importing(["torch"])
    assert found.failures == {}
    assert len(found.openmp) <= 1
    assert all(Path(path).is_absolute() for path in found.openmp)
    assert set(found.openmp) <= set(openmp(Live().libraries()))  # torch is imported here too


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that import, that fail, that end the process and that never end."""
    texts = {
        "fine_module": "",
        "failing_module": "raise OSError('no such DLL')",
        "dying_module": "import os; os.abort()",
        "endless_module": "import time; time.sleep(60)",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("modules")
def test_failures_name_the_module_and_the_others_are_tried() -> None:
    found = after_importing(["failing_module", "missing_module", "fine_module"])
    assert found.failures == {
        "failing_module": "OSError: no such DLL",
        "missing_module": "ModuleNotFoundError: No module named 'missing_module'",
    }


@pytest.mark.usefixtures("modules")
def test_a_crash_and_a_hang_are_failures_of_their_module() -> None:
    assert "SIGABRT" in after_importing(["fine_module", "dying_module"]).failures["dying_module"]
    late = after_importing(["endless_module"], limit_seconds=2)
    assert late.failures == {"endless_module": "it takes longer than 2 s"}


@pytest.mark.parametrize(("said", "blamed"), [("", "a"), ("a\n", "a"), ("a\nnoise\nb\nmore noise\n", "b")])
def test_the_module_that_was_named_last_is_to_blame(said: str, blamed: str) -> None:
    assert _under_way(said, ["a", "b", "c"]) == blamed


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        ("/usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0", True),
        ("/site-packages/scikit_learn.libs/libgomp-d22c30c5.so.1.0.0", True),
        ("/opt/conda/lib/libiomp5.so", True),
        ("/opt/homebrew/lib/libomp.dylib", True),
        (r"C:\Python\Lib\site-packages\torch\lib\libiomp5md.dll", True),
        (r"C:\Windows\System32\VCOMP140.DLL", True),
        ("/usr/lib/libompd.so", False),
        ("/usr/lib/libopenblas.so.0", False),
        ("/usr/lib/libcomps.so", False),
    ],
)
def test_openmp_runtimes_by_name(path: str, runtime: bool) -> None:
    assert openmp([path]) == ((path,) if runtime else ())


def test_libraries_of_this_process() -> None:
    loaded = Live().libraries()
    assert any("torch" in path for path in loaded)
    assert list(loaded) == sorted(set(loaded))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (LIST, ("sm_75", "sm_80", "sm_90a", "compute_120")),
        (b"\0gfx90a:xnack- gfx1100\0", ("gfx90a:xnack-", "gfx1100")),
        (b"\0sm_something else\0", ()),
        (b"\0sm_80", ()),
        (b"nothing of the kind", ()),
        (b"", ()),
    ],
)
def test_the_list_of_architectures_is_found_in_a_library(
    tmp_path: Path, content: bytes, found: tuple[str, ...]
) -> None:
    (tmp_path / "library").write_bytes(content)
    assert kernel_list(tmp_path / "library") == found


def test_the_list_of_architectures_is_torchs_own() -> None:
    """Empty for a CPU build, on both sides."""
    assert list(Live().kernels()) == torch.cuda.get_arch_list()


def test_no_library_no_list(tmp_path: Path) -> None:
    assert kernel_list(tmp_path / "missing") == ()


def test_asking_imports_no_torch() -> None:
    code = "import sys; from autotune.reader import Live; Live().kernels(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
