"""Fixtures of the whole suite: the golden results and the checkpoints that belong to them.

`golden` reads tests/golden, which every clone has. `full_golden` reads the complete pack from the folder that
SOVITS_RT_GOLDEN names, for tests marked `full`. Both are a Golden, so a test body serves either.
"""

import hashlib
import importlib.util
import json
import lzma
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

HERE = Path(__file__).resolve().parent
# Read when torch loads OpenMP: on busy cores, threads that spin while they wait take minutes for seconds of work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
PACK_VARIABLE = "SOVITS_RT_GOLDEN"
FLAT = re.compile(r"(.+)_flat(\d+)")
# Cases of the complete pack whose segments have the texts, and so the BERT features, of v2_batch1.
SAME_TEXTS_AS_BATCH1 = ("v2_eos_batch1", "v2_eos_batch4", "v2_batch4", "v2_sampled_batch")


def load_tool(name: str) -> ModuleType:
    """A script of tools/ as a module, also importable under its own name afterwards."""
    spec = importlib.util.spec_from_file_location(name, HERE.parent / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


seeded_checkpoints = load_tool("seeded_checkpoints")


@dataclass(frozen=True)
class Recorded:
    """The arrays that upstream left for one request or one reference recording.

    item[key] is a whole array (KeyError if only parts were kept); item.compare(key, actual) works with parts too.
    """

    pack: "Golden"
    name: str
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    def __contains__(self, key: str) -> bool:
        """Whether compare() can say anything about `key`."""
        return key in self.arrays or self._owner(key) is not None or any(True for _ in self._parts(key))

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key in self.arrays:
            return self.arrays[key]
        owner = self._owner(key)
        if owner is not None:
            return self.pack.case(owner)[key]
        raise KeyError(f"{self.name} has no whole array {key!r}; it has {', '.join(sorted(self.arrays))}")

    def steps(self, prefix: str) -> list[int]:
        """The numbers k for which f"{prefix}{k}" is stored whole, as in steps("logits_step")."""
        return sorted(int(key.removeprefix(prefix)) for key in self.arrays if re.fullmatch(prefix + r"\d+", key))

    def compare(self, key: str, actual: ArrayLike) -> float:
        """Largest absolute difference between `actual` (array or CPU tensor) and what is stored of `key`.

        Axes of length 1 are ignored; any other difference in shape fails.
        """
        values = np.asarray(actual)
        if key in self.arrays or self._owner(key) is not None:
            want = self[key]
            return largest(same_shape(values, want.shape, f"{self.name} {key}"), want)
        parts = list(self._parts(key))
        if not parts:
            raise KeyError(f"{self.name} has nothing of {key!r}; it has {', '.join(sorted(self.arrays))}")
        values = same_shape(values, self._stored_shape(key), f"{self.name} {key}")
        return max(largest(same_shape(part(values), want.shape, f"{self.name} {key}"), want) for part, want in parts)

    def _owner(self, key: str) -> str | None:
        """The case that stores this array for several cases."""
        owner = self.meta.get(f"{key}_from")
        if owner is None and self.name in SAME_TEXTS_AS_BATCH1 and re.fullmatch(r"seg\d+_bert", key):
            return "v2_batch1"
        return None if owner is None else str(owner).removeprefix("cases/")

    def _stored_shape(self, key: str) -> tuple[int, ...]:
        if f"{key}_shape" in self.arrays:
            return tuple(int(length) for length in self.arrays[f"{key}_shape"])
        return (int(self.arrays[f"{key}_len"]),)

    def _parts(self, key: str) -> Iterator[tuple[Any, NDArray[Any]]]:
        """Pairs of (function that takes the same part of a whole array, stored part)."""
        for stored, want in self.arrays.items():
            flat = FLAT.fullmatch(stored)
            if flat and flat[1] == key:
                yield (lambda a, step=int(flat[2]): a.reshape(-1)[::step]), want
            elif stored == f"{key}_head":
                yield (lambda a, n=want.shape[-1]: a[..., :n]), want
            elif stored == f"{key}_tail":
                yield (lambda a, n=want.shape[-1]: a[..., -n:]), want
            elif stored == f"{key}_every8":  # frames, the last axis but one
                yield (lambda a: a[..., ::8, :]), want


def same_shape(values: NDArray[Any], shape: tuple[int, ...], what: str) -> NDArray[Any]:
    """`values` in `shape`, from which it may differ by axes of length 1."""
    lengths = [[length for length in axes if length != 1] for axes in (values.shape, shape)]
    assert lengths[0] == lengths[1], f"{what}: shape {values.shape}, not {shape}"
    return values.reshape(shape)


def largest(actual: NDArray[Any], want: NDArray[Any]) -> float:
    return float(np.abs(actual.astype(np.float64) - want.astype(np.float64)).max(initial=0.0))


@dataclass(frozen=True)
class Golden:
    """A golden pack and a folder for the checkpoints that its results were made with.

    root: folder with cases/, refs/, text/ and, in the complete pack, full/.
    cache: checkpoints are written here when first asked for.
    """

    root: Path
    cache: Path

    @cached_property
    def _table(self) -> Any:
        return seeded_checkpoints.load_table()

    @cached_property
    def _stored(self) -> dict[str, NDArray[Any]]:
        stored: dict[str, NDArray[Any]] = seeded_checkpoints.load_stored()
        return stored

    @cached_property
    def _loaded(self) -> dict[Path, Recorded]:
        return {}

    def checkpoint(self, name: str, size: str = "small") -> Path:
        """File, or folder for "hubert" and "bert", of a checkpoint; `name` may also be a path as in meta["t2s"].

        Names of size small: hubert, bert, t2s_v1, t2s_v2, t2s_v2_eos, sovits_v1, sovits_v2, sovits_v2Pro,
        sovits_v2ProPlus; full: t2s_v2, sovits_v2, sovits_v2Pro, sovits_v2ProPlus, sv.
        """
        if "/" in name:
            (entry,) = (entry for entry in self._table.files if entry.path == name)
        else:
            entry = self._table.find(name, "full" if name == "sv" else size)
        path: Path = self.cache / entry.path
        if not path.exists():
            seeded_checkpoints.write_checkpoint(
                entry, self.cache, seed=self._table.seed, stored=self._stored, check=False
            )
        return path.parent if entry.companions else path

    def cases(self) -> list[str]:
        return sorted(path.stem for folder in ("cases", "full") for path in (self.root / folder).glob("*.npz"))

    def case(self, name: str) -> Recorded:
        folder = "cases" if (self.root / "cases" / f"{name}.npz").exists() else "full"
        return self._recorded(self.root / folder / f"{name}.npz")

    def ref(self, name: str) -> Recorded:
        return self._recorded(self.root / "refs" / f"{name.removesuffix('.wav')}.npz")

    def wav(self, name: str) -> Path:
        return self.root / "refs" / f"{name.removesuffix('.wav')}.wav"

    def text(self, name: str) -> Any:
        """frontend, segmentation or symbols: the parsed file."""
        plain = self.root / "text" / f"{name}.json"
        packed = plain.with_suffix(".json.xz")
        content = plain.read_bytes() if plain.exists() else lzma.decompress(packed.read_bytes())
        return json.loads(content)

    def compare(self, item: Recorded, key: str, actual: ArrayLike) -> float:
        """Largest absolute difference to what is stored of `key`; see Recorded.compare."""
        return item.compare(key, actual)

    def _recorded(self, path: Path) -> Recorded:
        if path not in self._loaded:
            with np.load(path) as archive:
                arrays = {key: archive[key] for key in archive.files}
            meta = json.loads(str(arrays.pop("meta"))) if "meta" in arrays else {}
            self._loaded[path] = Recorded(pack=self, name=path.stem, arrays=arrays, meta=meta)
        return self._loaded[path]


@pytest.fixture(scope="session")
def checkpoint_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that outlives the run where pytest has a cache, named after everything that the files depend on."""
    sources = [HERE.parent / "tools" / "seeded_checkpoints.py", *sorted((HERE / "golden").glob("*.[nj]*"))]
    key = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    if cache is None or not os.access(HERE.parent, os.W_OK):
        return tmp_path_factory.mktemp("checkpoints")
    return cache.mkdir(f"checkpoints-{key}")


@pytest.fixture(scope="session")
def golden(checkpoint_cache: Path) -> Golden:
    return Golden(root=HERE / "golden", cache=checkpoint_cache)


@pytest.fixture(scope="session")
def small_voices(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundled voices as the package has one, with random networks; see small_voice."""
    from small_voice import write_bundle

    pytest.importorskip("nltk")
    root = tmp_path_factory.mktemp("voices")
    write_bundle(root, {"first": golden.wav("en_24k"), "second": golden.wav("en_44k")})
    return root


@pytest.fixture(scope="session")
def full_golden(checkpoint_cache: Path) -> Golden:
    folder = os.environ.get(PACK_VARIABLE, "")
    if not folder:
        pytest.skip(f"{PACK_VARIABLE} is not set to the folder of the complete golden pack")
    return Golden(root=Path(folder), cache=checkpoint_cache)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "full" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with -m full"))
