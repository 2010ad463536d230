"""The two containers of torch.save: a zip file (since PyTorch 1.6) and a chain of pickles (before).

Upstream replaces the first two bytes of some zip files by two digits that name the model version; they are read as
`header` and need no repair, because a zip file is found from its end.
Storages are views of the mapped file: nothing is copied before a tensor is used. Tensors keep the mapping alive.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.files import Pathlike, foreign_content, map_file
from sovits_rt.checkpoints.pickles import Storage, TensorRef, read_pickle
from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_START = b"\x80\x02\x8a\x0a" + _LEGACY_MAGIC.to_bytes(10, "little")
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
_MAX_PICKLE_BYTES = 64 * 2**20  # real tables of contents have some 100 kB


@dataclass(frozen=True, slots=True)
class Archive:
    """A torch.save file that is open but whose tensors are not read.

    header: the two digits that upstream wrote over the zip signature, or "".
    root: the saved object, with TensorRef for tensors (see read_pickle).
    spans: where the storage of each key lies: (first byte, bytes).
    """

    path: Path
    content: mmap.mmap
    layout: str
    header: str
    root: object
    spans: Mapping[str, tuple[int, int]]
    _storages: dict[str, Tensor] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def info(self) -> str:
        """Upstream's remark, such as "GPT-e15" or "8epoch_216iteration"; "" where a file has none."""
        info = self.root.get("info") if isinstance(self.root, dict) else None
        return info if isinstance(info, str) else ""

    def leave_memory(self) -> None:
        """What was read of the file no longer counts as this process's memory; it comes back when it is touched."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.content.madvise(mmap.MADV_DONTNEED)

    def tensor(self, reference: TensorRef) -> Tensor:
        """A view of the file. Raises CheckpointError if the storage is missing or has another size."""
        import torch

        flat = self._storage(reference.storage)
        return torch.as_strided(flat, reference.shape, reference.stride, reference.offset)

    def _storage(self, storage: Storage) -> Tensor:
        import torch

        dtype: torch.dtype = getattr(torch, storage.dtype)
        expected = storage.length * dtype.itemsize
        start, found = self.spans.get(storage.key, (0, -1))
        if found != expected:
            problem = "is missing" if found < 0 else f"has {found} bytes instead of {expected}"
            raise damaged(self.path, f"its storage {quoted(storage.key)} {problem}")
        known = self._storages.get(storage.key)
        if known is None or known.dtype != dtype:
            known = self._storages[storage.key] = self._view(start, storage.length, dtype)
        return known

    def _view(self, start: int, length: int, dtype: torch.dtype) -> Tensor:
        import torch

        if not length:
            return torch.empty(0, dtype=dtype)
        if start % dtype.itemsize:
            end = start + length * dtype.itemsize
            return torch.frombuffer(bytearray(self.content[start:end]), dtype=dtype)
        return torch.frombuffer(self.content, dtype=dtype, count=length, offset=start)


def damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is cut off or damaged: {what}; download or copy it again.")


def open_archive(path: Pathlike) -> Archive:
    """Reads the table of contents of a torch.save file.

    Raises CheckpointError for anything else, UnsafeCheckpointError if the file asks to run code.
    """
    path = Path(path)
    content = map_file(path)
    start = content[:4]
    if start[:2] == b"PK" or (start[:1] == b"0" and start[1:2].isdigit() and start[2:] == b"\x03\x04"):
        return _open_zip(path, content, "" if start[:2] == b"PK" else start[:2].decode("ascii"))
    if content[: len(_LEGACY_START)] == _LEGACY_START:
        return _open_legacy(path, content)
    if start[:1] == b"\x80":
        # Not ours, but if it is an attack the user should hear that rather than "not a model".
        read_pickle(content, path)
    raise foreign_content(path, content)


def _open_zip(path: Path, content: mmap.mmap, header: str) -> Archive:
    spans = _zip_spans(path, content)
    tables = [name for name in spans if name.endswith("/data.pkl")]
    if len(tables) != 1:
        raise CheckpointError(
            f"{path} is a zip file without a PyTorch checkpoint in it: if it is a packed folder, unpack it first."
        )
    folder = tables[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in spans:
        raise CheckpointError(f"{path} is a TorchScript program, but a checkpoint (.ckpt, .pth) is expected.")
    start, size = spans.get(f"{folder}byteorder", (0, 0))
    if content[start : start + size] not in (b"", b"little"):
        raise CheckpointError(f"{path} was saved on a big-endian machine, which sovits-rt does not read.")
    start, size = spans[tables[0]]
    if size > _MAX_PICKLE_BYTES:
        raise damaged(path, f"its table of contents has {size} bytes")
    root = read_pickle(content[start : start + size], path)
    data = f"{folder}data/"
    storages = {name.removeprefix(data): span for name, span in spans.items() if name.startswith(data)}
    return Archive(path, content, "zip", header, root, storages)


def _zip_spans(path: Path, content: mmap.mmap) -> dict[str, tuple[int, int]]:
    """First byte and size of every entry. Entries are only looked up by name, never written anywhere."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as directory:
            entries = directory.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, OverflowError, LookupError, struct.error) as error:
        raise damaged(path, f"the directory at the end of the zip file can't be read, {len(content)} bytes") from error
    except NotImplementedError as error:
        raise damaged(path, "the zip file asks for features that torch.save does not use") from error
    spans: dict[str, tuple[int, int]] = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise CheckpointError(f"{path} is a compressed or encrypted zip file, torch.save writes none: unpack it.")
        if entry.filename in spans:
            raise damaged(path, f"the zip file has two entries {quoted(entry.filename)}")
        spans[entry.filename] = _entry_span(path, content, entry)
    return spans


def _entry_span(path: Path, content: mmap.mmap, entry: zipfile.ZipInfo) -> tuple[int, int]:
    offset = entry.header_offset
    if not 0 <= offset <= len(content) - _LOCAL_HEADER.size:
        raise damaged(path, f"the zip entry {quoted(entry.filename)} lies outside the file")
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(content, offset)
    # The first entry's signature begins with upstream's version digits.
    if signature != b"PK\x03\x04" and (offset or signature[2:] != b"\x03\x04"):
        raise damaged(path, f"the zip entry {quoted(entry.filename)} does not begin where the directory says")
    start = offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if start + entry.file_size > len(content):
        raise damaged(path, f"the zip entry {quoted(entry.filename)} ends outside the file")
    return start, entry.file_size


def _open_legacy(path: Path, content: mmap.mmap) -> Archive:
    import torch

    content.seek(0)
    storages: dict[str, Storage] = {}
    magic, protocol, system, root, keys = (read_pickle(content, path, storages) for _ in range(5))
    if magic != _LEGACY_MAGIC or protocol != 1001 or not isinstance(system, dict) or not isinstance(keys, list):
        raise damaged(path, "its header is not the one that torch.save writes")
    if not system.get("little_endian", True):
        raise CheckpointError(f"{path} was saved on a big-endian machine, which sovits-rt does not read.")
    spans: dict[str, tuple[int, int]] = {}
    position = content.tell()
    for key in keys:
        if not isinstance(key, str) or key not in storages or position + 8 > len(content):
            raise damaged(path, "it ends before its last tensor")
        # The chain states lengths in numbers; of which type, only the main pickle says.
        dtype: torch.dtype = getattr(torch, storages[key].dtype)
        size = int.from_bytes(content[position : position + 8], "little") * dtype.itemsize
        position += 8
        if position + size > len(content):
            raise damaged(path, "it ends before its last tensor")
        spans[key] = (position, size)
        position += size
    return Archive(path, content, "legacy", "", root, spans)
