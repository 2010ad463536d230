"""A reader for the pickles inside model files that runs nothing.

A pickle is a program for a small stack machine. This machine is played here on plain data: names of classes and
functions stay names, a tensor becomes a description of where its numbers lie, upstream's `utils.HParams` becomes a
dict. A program that asks for any other name or operation is refused with that name. Nothing is ever imported or called.

Source: the pickle protocol (`pickletools` of the standard library decodes the operations); the names are those that
`torch.save` and upstream process_ckpt.py (savee) write.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Protocol, cast

from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError, UnsafeCheckpointError

STORAGE_TYPES: dict[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# Far above any real file (a training checkpoint has some 100,000), far below what would take minutes.
MAX_OPERATIONS = 5_000_000


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers in the file. dtype: a torch dtype name. length: how many numbers."""

    key: str
    dtype: str
    length: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor that has not been read. offset and stride count numbers, and are checked to stay in the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        return prod(self.shape)


class Readable(Protocol):
    """What pickletools needs of a file; a mapped file is one too."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


class HParams(dict[str, object]):
    """Attributes of a pickled `utils.HParams`."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function that the pickle refers to; only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _MarkType:
    pass


_MARK = _MarkType()


def read_pickle(stream: bytes | Readable, path: object, storages: dict[str, Storage] | None = None) -> object:
    """The value of one pickle, made of dict, list, tuple, str, bytes, numbers, None, HParams, Storage and TensorRef.

    stream: the bytes, or a file positioned at the pickle's start, which is left behind its end.
    path: named in errors. storages: filled with every storage that is referred to, by key.
    Values may contain themselves: walk them by known keys only.
    Raises UnsafeCheckpointError for names and operations that upstream's files never need, CheckpointError for damage.
    """
    machine = _Machine(path, {} if storages is None else storages)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(cast(bytes, stream))):
            if count > MAX_OPERATIONS:
                raise CheckpointError(f"{path} describes its contents in over {MAX_OPERATIONS} steps, no model does.")
            if operation.name == "STOP":
                break
            machine.step(operation.name, argument)
        return machine.pop()
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{path} is damaged: its table of contents can't be read ({quoted(str(error))}); download or copy it again."
        ) from error


class _Machine:
    def __init__(self, path: object, storages: dict[str, Storage]) -> None:
        self.path = path
        self.storages = storages
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def step(self, operation: str, argument: object) -> None:
        if operation in _LITERALS:
            self.stack.append(argument)
        elif operation in _STEPS:
            _STEPS[operation](self, argument)
        else:
            named = f" for {quoted(str(argument).replace(' ', '.'))}" if operation == "INST" else ""
            raise self.unsafe(f"uses the pickle operation {operation}{named}")

    def unsafe(self, does: str) -> UnsafeCheckpointError:
        return UnsafeCheckpointError(
            f"{self.path} {does}, which no GPT-SoVITS model needs and which could run code; nothing was run, "
            "don't open this file with other programs unless you trust its source."
        )

    def pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a value is missing")
        return value

    def pop_to_mark(self) -> list[object]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no start of a list")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def memoize(self, index: object) -> None:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("nothing to remember")
        self.memo[cast(int, index)] = self.stack[-1]

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError("entries without a dict")
        target.update(_pairs(items))

    def append(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("items without a list")
        target.extend(items)

    def name(self, module: object, name: object) -> None:
        found = _Name(str(module), str(name))
        known = str(found) in _CALLS or str(found) == _HPARAMS or _storage_dtype(found) is not None
        # "a.b" + "c" and "a" + "b.c" read the same: only a plain last part is what torch and upstream write.
        if not known or "." in found.name:
            raise self.unsafe(f"asks for {quoted(str(found))}")
        self.stack.append(found)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no text")
        self.name(module, name)

    def call(self) -> None:
        arguments, target = self.pop(), self.pop()
        if not isinstance(target, _Name) or str(target) not in _CALLS:
            what = quoted(str(target)) if isinstance(target, _Name) else f"a value of type {type(target).__name__}"
            raise self.unsafe(f"calls {what}")
        if not isinstance(arguments, tuple):
            raise TypeError("arguments that are no tuple")
        self.stack.append(_CALLS[str(target)](*arguments))

    def new_object(self) -> None:
        arguments, target = self.pop(), self.pop()
        if not isinstance(target, _Name) or str(target) != _HPARAMS or arguments != ():
            raise self.unsafe(f"makes an object of {quoted(str(target))}")
        self.stack.append(HParams())

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, HParams) and isinstance(state, dict):
            for key in state:
                if not isinstance(key, str) or key.startswith("__"):
                    raise self.unsafe(f"sets the attribute {quoted(str(key))}")
            target.update(state)
        elif not isinstance(target, dict) or not isinstance(state, dict):  # an OrderedDict carries notes: dropped
            raise self.unsafe(f"sets attributes of a value of type {type(target).__name__}")

    def persistent(self) -> None:
        storage = _storage(self.pop())
        self.storages[storage.key] = storage
        self.stack.append(storage)


def _pairs(items: list[object]) -> dict[object, object]:
    keys = items[::2]
    # Hashing a deeply nested tuple can overflow the C stack, so only plain keys.
    for key in keys:
        if not isinstance(key, str | int | float | bytes | None):
            raise TypeError("a key that is neither text nor a number")
    return dict(zip(keys, items[1::2], strict=True))


def _storage_dtype(name: object) -> str | None:
    if isinstance(name, _Name) and name.module in ("torch", "torch.cuda"):
        return STORAGE_TYPES.get(name.name)
    return None


def _storage(identity: object) -> Storage:
    """identity: ("storage", type, key, place, length), in old files with a sixth part that must be None."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[5:] not in ((), (None,)):
        raise ValueError("a reference that is no storage")
    label, kind, key, _, length = identity[:5]
    dtype = _storage_dtype(kind)
    if label != "storage" or dtype is None or not isinstance(key, str) or not _is_count(length):
        raise ValueError("a reference that is no storage")
    return Storage(key, dtype, length)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _tensor(storage: object, offset: object, shape: object, stride: object, *_unused: object) -> TensorRef:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise TypeError("a tensor without storage or shape")
    if len(shape) != len(stride) or len(shape) > 8 or not all(_is_count(n) for n in (offset, *shape, *stride)):
        raise ValueError("a tensor with an impossible shape")
    reference = TensorRef(storage, cast(int, offset), shape, stride)
    # A tensor may be a transposed view, but none repeats its numbers: that would let a tiny file ask for all memory.
    last = reference.offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if reference.numel > storage.length or (reference.numel and last >= storage.length):
        raise ValueError("a tensor larger than its storage")
    return reference


def _parameter(data: object, *_unused: object) -> TensorRef:
    if not isinstance(data, TensorRef):
        raise TypeError("a parameter without a tensor")
    return data


def _ordered_dict(items: object = ()) -> dict[object, object]:
    if not isinstance(items, list | tuple):
        raise TypeError("an OrderedDict of something else than pairs")
    flat: list[object] = []
    for pair in items:
        key, value = pair
        flat += (key, value)
    return _pairs(flat)


def _path_text(*parts: object) -> str:
    return "/".join(part for part in parts if isinstance(part, str))


_HPARAMS = "utils.HParams"
_CALLS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    # Folders of the training machine, kept as text; Python 3.13 writes the second pair.
    "pathlib.PosixPath": _path_text,
    "pathlib.WindowsPath": _path_text,
    "pathlib._local.PosixPath": _path_text,
    "pathlib._local.WindowsPath": _path_text,
}
# fmt: off
_LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
))
# fmt: on
_STEPS: dict[str, Callable[[_Machine, object], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "POP": lambda machine, _: machine.stack.__delitem__(-1),
    "POP_MARK": lambda machine, _: machine.pop_to_mark().clear(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append((machine.pop(),)),
    "TUPLE2": lambda machine, _: machine.stack.append((machine.pop(), machine.pop())[::-1]),
    "TUPLE3": lambda machine, _: machine.stack.append((machine.pop(), machine.pop(), machine.pop())[::-1]),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "DICT": lambda machine, _: machine.stack.append(_pairs(machine.pop_to_mark())),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "PUT": lambda machine, argument: machine.memoize(argument),
    "BINPUT": lambda machine, argument: machine.memoize(argument),
    "LONG_BINPUT": lambda machine, argument: machine.memoize(argument),
    "MEMOIZE": lambda machine, _: machine.memoize(len(machine.memo)),
    "GET": lambda machine, argument: machine.stack.append(machine.memo[cast(int, argument)]),
    "BINGET": lambda machine, argument: machine.stack.append(machine.memo[cast(int, argument)]),
    "LONG_BINGET": lambda machine, argument: machine.stack.append(machine.memo[cast(int, argument)]),
    "GLOBAL": lambda machine, argument: machine.name(*str(argument).split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
