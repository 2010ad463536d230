"""Write the seeded random checkpoints that the golden results were recorded with.

    python tools/seeded_checkpoints.py OUT [--size small|full] [--only NAME ...] [--check]

The weights are random and the speech they make is noise; what matters is that every machine gets the same bytes.
tests/golden/checkpoints.json.xz lists each file: its container, its stored configuration and one row per tensor,
[name, shape, dtype, rule]. A rule is a list whose head names it:

    ["bell", mean, scale, tag?]    mean + scale * level, 511 levels with a triangular distribution
    ["four", mean, scale, tag?]    mean + scale * level, 4 equally likely levels (such tensors compress well)
    ["rows", [[count, scale], …]]  as "bell" with mean 0, each stretch of leading rows with a scale of its own
    ["fill", value]                every element the same
    ["same", other]                the values of an earlier tensor, stored once more
    ["stored", key]                an array of tests/golden/stored_tensors.npz (fitted values that no rule describes)

Levels have mean 0 and standard deviation 1. Their random bits come from a Philox 4x64-10 generator, counter 0, whose
key is the first 16 bytes of SHA-256("seed/tag/name") as two little-endian uint64; the tag is the file's unless the rule
has one. The 64-bit outputs are read as little-endian bytes: "bell" takes two bytes per element,
(byte + byte - 255) / sqrt(10922.5); "four" takes two bits, lowest first, for -1.5, -0.5, 0.5, 1.5 over sqrt(1.25).
Values are computed in float64 and rounded once, with no transcendental function, so every platform agrees.
"""

import argparse
import hashlib
import json
import lzma
import math
import shutil
import sys
import tempfile
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
DTYPES: dict[str, type[np.generic]] = {"f16": np.float16, "f32": np.float32, "i64": np.int64}
SIZES = ("small", "full")

Array = NDArray[Any]
Rule = list[Any]


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """One file of the table.

    size: "small" or "full". path: where it goes under the output folder. kind: what surrounds the tensors (see wrap).
    header: two characters written over the zip's "PK", or "". zip_folder: folder inside the zip.
    companions: files of tests/golden/companions that lie beside it. digest: SHA-256 over all tensors.
    """

    name: str
    size: str
    path: str
    kind: str
    tag: str
    header: str
    zip_folder: str
    info: str
    digest: str
    config: dict[str, Any] | None
    companions: list[str]
    tensors: list[tuple[str, list[int], str, Rule]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckpointTable:
    seed: str
    files: tuple[CheckpointFile, ...]

    def find(self, name: str, size: str) -> CheckpointFile:
        for entry in self.files:
            if entry.name == name and entry.size == size:
                return entry
        known = ", ".join(sorted(entry.name for entry in self.files if entry.size == size))
        raise KeyError(f"no {size} checkpoint named {name!r}; there are: {known}")


def load_table(golden: Path = GOLDEN) -> CheckpointTable:
    table = json.loads(lzma.decompress((golden / "checkpoints.json.xz").read_bytes()))
    return CheckpointTable(seed=table["seed"], files=tuple(CheckpointFile(**entry) for entry in table["files"]))


def random_bytes(text: str, count: int) -> NDArray[np.uint8]:
    """The first `count` bytes of the stream that belongs to `text`."""
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    words = np.random.Philox(key=key).random_raw(-(-count // 8))
    stream: NDArray[np.uint8] = words.astype("<u8", copy=False).view(np.uint8)
    return stream[:count]


def bell_values(mean: float, scale: float, dtype: type[np.generic]) -> Array:
    """[65536] the value for each pair of bytes, read as a little-endian uint16."""
    pair = np.arange(65536)
    level = ((pair & 255) + (pair >> 8) - 255) / np.sqrt(10922.5)
    values: Array = (mean + scale * level).astype(dtype)
    return values


def four_values(mean: float, scale: float, dtype: type[np.generic]) -> Array:
    """[256, 4] the four values that each byte holds."""
    code = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3
    levels = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
    values: Array = (mean + scale * levels[code]).astype(dtype)
    return values


def seeded(text: str, shape: list[int], dtype: type[np.generic], rule: Rule) -> Array:
    """A tensor of one of the three random rules; `text` selects the random stream."""
    count = math.prod(shape)
    if rule[0] == "four":
        fours = four_values(rule[1], rule[2], dtype)[random_bytes(text, -(-count // 4))]
        values: Array = fours.reshape(-1)[:count].reshape(shape)
        return values
    pairs = random_bytes(text, 2 * count).view("<u2").reshape(shape)
    if rule[0] == "bell":
        return np.take(bell_values(rule[1], rule[2], dtype), pairs)
    bounds = np.cumsum([0, *(rows for rows, _ in rule[1])])
    blocks = [
        bell_values(0.0, scale, dtype)[pairs[start : start + rows]]
        for start, (rows, scale) in zip(bounds, rule[1], strict=False)
    ]
    return np.concatenate(blocks)


def make_tensors(seed: str, entry: CheckpointFile, stored: dict[str, Array]) -> "OrderedDict[str, Array]":
    """All tensors of a file in file order."""
    made: OrderedDict[str, Array] = OrderedDict()
    for name, shape, dtype_name, rule in entry.tensors:
        dtype = DTYPES[dtype_name]
        match rule:
            case ["fill", value]:
                made[name] = np.full(shape, value, dtype)
            case ["same", other]:
                made[name] = made[other].copy()
            case ["stored", key]:
                made[name] = stored[key].astype(dtype)
            case ["bell" | "four", _, _, tag]:
                made[name] = seeded(f"{seed}/{tag}/{name}", shape, dtype, rule)
            case ["bell" | "four" | "rows", *_]:
                made[name] = seeded(f"{seed}/{entry.tag}/{name}", shape, dtype, rule)
            case _:
                raise ValueError(f"unknown rule {rule!r} of tensor {name} in {entry.path}")
        assert list(made[name].shape) == shape, (name, made[name].shape, shape)
    return made


def digest(tensors: "OrderedDict[str, Array]") -> str:
    """SHA-256 over a sorted list of tensor names and the (shortened) SHA-256 of name and values of each."""
    lines = []
    for name, values in sorted(tensors.items()):
        little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
        content = hashlib.sha256(name.encode() + b"\0" + little_endian.tobytes())
        lines.append(f"{name} {content.hexdigest()[:16]}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def hparams_class() -> Iterator[type]:
    """A class that pickles as HParams of a top-level module `utils`: that name is what upstream leaves in its files."""
    created = type("HParams", (), {"__module__": "utils"})
    module = types.ModuleType("utils")
    module.HParams = created  # type: ignore[attr-defined]
    before = sys.modules.get("utils")
    sys.modules["utils"] = module
    try:
        yield created
    finally:
        del sys.modules["utils"]
        if before is not None:
            sys.modules["utils"] = before


def as_hparams(cls: type, values: dict[str, Any]) -> Any:
    instance = cls()
    for key, value in values.items():
        setattr(instance, key, as_hparams(cls, value) if isinstance(value, dict) else value)
    return instance


def wrap(entry: CheckpointFile, tensors: "OrderedDict[str, torch.Tensor]", hparams: type) -> Any:
    """What upstream's trainer puts around the tensors in this kind of file."""
    if entry.kind == "state_dict":
        return tensors
    assert entry.config is not None
    if entry.kind == "t2s":
        return OrderedDict(weight=tensors, config=entry.config, info=entry.info)
    assert entry.kind == "sovits", entry.kind
    return OrderedDict(weight=dict(tensors), config=as_hparams(hparams, entry.config), info=entry.info)


def save(entry: CheckpointFile, arrays: "OrderedDict[str, Array]", path: Path) -> None:
    """Write the file as torch does, with the version mark of the newer kinds over its first two bytes.

    torch names the folder inside the zip after the file, so `path` has the stem that the folder shall have.
    """
    tensors = OrderedDict((name, torch.from_numpy(values)) for name, values in arrays.items())
    with hparams_class() as hparams:
        torch.save(wrap(entry, tensors, hparams), path)
    with path.open("r+b") as file:
        file.write(entry.header.encode("ascii"))


def write_checkpoint(entry: CheckpointFile, out: Path, *, seed: str, stored: dict[str, Array], check: bool) -> Path:
    """Write one file and its companions under `out`; returns the file's path.

    A reader never sees half a file: the content appears under its name at once, companions before it.

    Raises:
        ValueError: check is set and the tensors differ from the recorded digest.
    """
    arrays = make_tensors(seed, entry, stored)
    if check and digest(arrays) != entry.digest:
        raise ValueError(f"{entry.size} {entry.name}: tensors have digest {digest(arrays)}, expected {entry.digest}")
    target = out / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    for companion in entry.companions:
        shutil.copyfile(GOLDEN / "companions" / companion, target.parent / Path(companion).name)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        unfinished = Path(folder) / f"{entry.zip_folder}.pth"
        save(entry, arrays, unfinished)
        unfinished.replace(target)
    return target


def load_stored(golden: Path = GOLDEN) -> dict[str, Array]:
    with np.load(golden / "stored_tensors.npz") as archive:
        return {key: archive[key] for key in archive.files}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the seeded random checkpoints of the golden tests.")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--size", choices=SIZES, default="small", help="full: as published models, about 700 MB")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--check", action="store_true", help="compare the tensors with the recorded digests")
    arguments = parser.parse_args()
    table, stored = load_table(), load_stored()
    names = arguments.only or [entry.name for entry in table.files if entry.size == arguments.size]
    try:
        entries = [table.find(name, arguments.size) for name in names]
    except KeyError as error:
        parser.error(str(error.args[0]))
    for entry in entries:
        path = write_checkpoint(entry, arguments.out, seed=table.seed, stored=stored, check=arguments.check)
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB{'  digest ok' if arguments.check else ''}")


if __name__ == "__main__":
    main()
