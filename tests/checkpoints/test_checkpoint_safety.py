"""Model files that try to run code or to exhaust the machine. Each attack that can run is first seen to run."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_files import (
    BERT,
    HUBERT,
    sovits_content,
    t2s_content,
    tensor_pickle,
    write,
    write_folder,
    write_pickle_zip,
)

from sovits_rt.checkpoints import inspect, load_bert, load_hubert, load_sovits, load_speaker, load_t2s
from sovits_rt.errors import CheckpointError, UnsafeCheckpointError


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


class Runs:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def python(command: str) -> str:
    return f"__import__('os').system({command!r})"


# Name in the error -> pickle that runs the shell command.
RUNNING: dict[str, Callable[[str], bytes]] = {
    "posix.system": lambda command: b"cposix\nsystem\n(" + text(command) + b"tR.",
    "os.system": lambda command: b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.",
    "builtins.eval": lambda command: b"cbuiltins\neval\n(" + text(python(command)) + b"tR.",
    "builtins.exec": lambda command: (
        b"\x80\x04" + text("builtins") + text("exec") + b"\x93" + text(python(command)) + b"\x85R."
    ),
    "operation INST for 'os.system'": lambda command: b"(S" + repr(command).encode() + b"\nios\nsystem\n.",
    # OBJ: the name is refused before the operation is reached.
    "object of os.system": lambda command: b"(cos\nsystem\n" + text(command) + b"o.",
    "builtins.getattr": lambda command: (
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n("
        + text("os")
        + b"tR"
        + text("system")
        + b"tR("
        + text(command)
        + b"tR."
    ),
    # A dotted name walks from a harmless module to a dangerous function.
    "shutil.os.system": lambda command: (
        b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + text(command) + b"\x85R."
    ),
    "operator.attrgetter": lambda command: (
        b"coperator\nattrgetter\n("
        + text("system")
        + b"tR(cimportlib\nimport_module\n("
        + text("os")
        + b"tRtR("
        + text(command)
        + b"tR."
    ),
    "subprocess.call": lambda command: (
        b"csubprocess\ncall\n(]" + text("sh") + b"a" + text("-c") + b"a" + text(command) + b"atR."
    ),
    "functools.partial": lambda command: b"cfunctools\npartial\n(cos\nsystem\n" + text(command) + b"tR)R.",
    "copyreg": lambda command: (
        b"ccopyreg\n__newobj__\n(cbuiltins\nobject\ntR0cos\nsystem\n" + text(command) + b"\x85R."
    ),
    "timeit.timeit": lambda command: (
        b"ctimeit\ntimeit\n(" + text(python(command)) + text("pass") + b"ctimeit\ndefault_timer\nK\x01tR."
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="the attacks run `touch` in a POSIX shell")
@pytest.mark.parametrize("name", RUNNING)
def test_attack_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "executed"
    attack = RUNNING[name](f"touch {marker}")
    pickle.loads(attack)
    assert marker.exists(), "the attack does not work, so refusing it would prove nothing"
    marker.unlink()
    path = write_pickle_zip(tmp_path / "voice.ckpt", attack)
    for load in (load_t2s, load_sovits, load_speaker):
        with pytest.raises(UnsafeCheckpointError) as caught:
            load(path)
        assert not marker.exists()
    described = inspect(path)
    assert (described["safe"], marker.exists()) == (False, False)
    print(caught.value)
    assert name.removeprefix("object of ") in str(caught.value)


def contained(where: str, folder: Path, attack: Runs) -> Callable[[], object]:
    """The attack in one of the places where a file could carry it; returns the call that reads it."""
    t2s, sovits = t2s_content(), sovits_content()
    path = folder / "file.pth"
    if where == "config":
        return lambda: load_t2s(write(path, {**t2s, "config": attack}))
    if where == "info":
        return lambda: load_sovits(write(path, {**sovits, "info": attack}))
    if where == "header":
        return lambda: load_sovits(write(path, {**sovits, "info": attack}, header="05"))
    if where == "weights":
        return lambda: load_t2s(write(path, {**t2s, "weight": {"model.x": attack}}))
    if where == "extra":
        return lambda: load_t2s(write(path, {**t2s, "extra": [{"a": (1, attack)}]}))
    if where == "legacy":
        return lambda: load_t2s(write(path, {**t2s, "info": attack}, legacy=True))
    if where == "bare pickle":
        path.write_bytes(pickle.dumps({"info": attack}))
        return lambda: load_t2s(path)
    if where == "hubert":
        return lambda: load_hubert(write_folder(folder / "h", HUBERT, {"x": attack}))  # type: ignore[dict-item]
    (folder / "b").mkdir()
    (folder / "b" / "tokenizer.json").write_text("{}")
    return lambda: load_bert(write_folder(folder / "b", BERT, {"x": attack}))  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "where", ["config", "info", "header", "weights", "extra", "legacy", "bare pickle", "hubert", "bert"]
)
def test_attack_in_any_place(tmp_path: Path, where: str) -> None:
    marker = tmp_path / "executed"
    read = contained(where, tmp_path, Runs(f"touch {marker}"))
    with pytest.raises(UnsafeCheckpointError, match=r"asks for '(posix|nt)\.system', which no GPT-SoVITS model needs"):
        read()
    assert not marker.exists()


STORAGE = b"ctorch\nHalfStorage\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
TRICKS: dict[str, tuple[bytes, str]] = {
    "torch.load": (b"ctorch.serialization\nload\n(" + text("x") + b"tR.", "'torch.serialization.load'"),
    "private helper by a dotted name": (
        b"\x80\x04" + text("torch") + text("_utils._rebuild_tensor_v2") + b"\x93.",
        "'torch._utils._rebuild_tensor_v2'",
    ),
    "method of an allowed class": (
        b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93.",
        "'collections.OrderedDict.fromkeys'",
    ),
    "empty module": (b"\x80\x04" + text("") + text("collections.OrderedDict") + b"\x93.", "asks for"),
    "name with control characters": (b"\x80\x04" + text("o\ns\x1b[2J") + text("x" * 9999) + b"\x93.", r"\\x1b"),
    "attributes of an allowed function": (REBUILD + b"}" + text("__code__") + text("x") + b"sb.", "sets attributes"),
    "attributes of an allowed class": (b"cutils\nHParams\n}" + text("keys") + text("x") + b"sb.", "sets attributes"),
    "slots of a dict": (b"ccollections\nOrderedDict\n)R(N}" + text("get") + text("x") + b"stb.", "sets attributes"),
    "class of HParams": (b"cutils\nHParams\n)\x81}" + text("__class__") + text("x") + b"sb.", "attribute '__class__'"),
    "state of HParams": (b"cutils\nHParams\n)\x81(N}tb.", "sets attributes"),
    "arguments for HParams": (b"cutils\nHParams\n(" + text("x") + b"t\x81.", "makes an object"),
    "HParams called": (b"cutils\nHParams\n)R.", "calls 'utils.HParams'"),
    "a storage type called": (STORAGE + b"(K\x09tR.", "calls 'torch.HalfStorage'"),
    "text called": (text("os.system") + b")R.", "calls a value of type str"),
    "dict called": (b"})R.", "calls a value of type dict"),
    "object of another class": (STORAGE + b")\x81.", "makes an object of 'torch.HalfStorage'"),
    "extension registry": (b"\x82\x01.", "operation EXT1"),
    "text reference": (b"Pstorage\n.", "operation PERSID"),
    "outside buffer": (b"\x80\x05\x97.", "operation NEXT_BUFFER"),
    "object with keywords": (b"\x80\x04cutils\nHParams\n)}\x92.", "operation NEWOBJ_EX"),
    "set": (b"\x80\x04\x8f.", "operation EMPTY_SET"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_trick_is_refused_by_name(tmp_path: Path, trick: str) -> None:
    pickled, sentence = TRICKS[trick]
    with pytest.raises(UnsafeCheckpointError) as caught:
        load_t2s(write_pickle_zip(tmp_path / "voice.ckpt", pickled))
    assert sentence.replace(r"\\", "\\") in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


DEEP = 50_000
UNREADABLE = "its table of contents can't be read"
UNKNOWN = "is a PyTorch file of unknown content"
DAMAGE: dict[str, bytes] = {
    "nothing": b"",
    "only stop": b".",
    "no stop": b"}",
    "underflow": b"R.",
    "mark as value": b"(.",
    "mark as item": b"](a.",
    "no mark": b"]t.",
    "unknown memo": b"h\x07.",
    "remembers nothing": b"q\x00.",
    "odd items": b"}(" + text("a") + b"u.",
    "items into text": text("a") + b"K\x01a.",
    "entries into a list": b"]" + text("a") + b"K\x01s.",
    "list as key": b"}]K\x01s.",
    "deep tuple as key": b"})" + b"\x85" * DEEP + b"K\x01s.",
    "deep lists": b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "deep tuples": b")" + b"\x85" * DEEP + b".",
    "huge memo": b"}r\xff\xff\xff\x7f.",
    "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    "huge text": b"X\xff\xff\xff\xffabc.",
    "huge number": b"I" + b"9" * 9000 + b"\n.",
    "bad number": b"Ix\n.",
    "bad text": b"X\x01\x00\x00\x00\xff.",
    "unknown operation": b"\xff.",
    "contains itself": b"]q\x00h\x00a.",
    "weight contains itself": b"}q\x00" + text("weight") + b"h\x00s.",
    "reference to text": text("x") + b"Q.",
    "reference to another thing": b"(" + text("module") + STORAGE + b"NNNtQ.",
    "short reference": b"(" + text("storage") + b"tQ.",
    "negative storage": tensor_pickle(-1, (1,), (1,)),
    "no arguments": REBUILD + b")R.",
    "wrong arguments": REBUILD + b"(K\x01K\x02K\x03K\x04tR.",
    "arguments in a list": REBUILD + b"]R.",
    "dict of no pairs": b"ccollections\nOrderedDict\n(](K\x01lltR.",
    "storage not in the file": tensor_pickle(732 * 8, (732, 8), (8, 1)),
    "huge storage": tensor_pickle(2**50, (732, 2**40), (2**40, 1)),
    "huge shape": tensor_pickle(4, (2**60, 2**60), (1, 1)),
    "repeated numbers": tensor_pickle(4, (2**40,), (0,)),
    "beyond the end": tensor_pickle(4, (2, 2), (3, 1)),
    "offset beyond the end": tensor_pickle(4, (4,), (1,), 1),
    "negative stride": tensor_pickle(4, (4,), (-1,)),
    "negative shape": tensor_pickle(4, (-4,), (1,)),
    "negative offset": tensor_pickle(4, (4,), (1,), -2),
    "shape without stride": tensor_pickle(4, (4,), ()),
    "many axes": tensor_pickle(4, (1,) * 70, (1,) * 70),
}


# What is not in this table is unreadable.
SENTENCES = {
    "deep lists": UNKNOWN,
    "deep tuples": UNKNOWN,
    "contains itself": UNKNOWN,
    "huge memo": UNKNOWN,
    "weight contains itself": UNKNOWN,
    "storage not in the file": "storage '0' is missing",
    "huge storage": "storage '0' is missing",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_pickle(tmp_path: Path, damage: str) -> None:
    with pytest.raises(CheckpointError, match=SENTENCES.get(damage, UNREADABLE)) as caught:
        load_t2s(write_pickle_zip(tmp_path / "voice.ckpt", DAMAGE[damage]))
    print(caught.value)
    assert type(caught.value) is CheckpointError
    assert "voice.ckpt" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"1234567", b"123456789"])
def test_storage_of_another_size(tmp_path: Path, content: bytes) -> None:
    pickled = tensor_pickle(732 * 8, (732, 8), (8, 1))
    path = write_pickle_zip(tmp_path / "voice.ckpt", pickled, {"0": content})
    with pytest.raises(CheckpointError, match=rf"storage '0' has {len(content)} bytes instead of {732 * 16}"):
        load_t2s(path)
    good = load_t2s(write_pickle_zip(path, pickled, {"0": bytes(732 * 16)}))
    assert good.weights["ar_text_embedding.word_embeddings.weight"].shape == (732, 8)


def test_many_views_of_one_storage(tmp_path: Path) -> None:
    """A small file whose tensors would need 4000 times its size once each is copied into a network."""
    content = t2s_content()
    weight = content["weight"]
    assert isinstance(weight, dict)
    table = weight["model.ar_predict_layer.weight"]
    weight |= {f"model.copy{i}": table for i in range(4000)}
    with pytest.raises(CheckpointError, match="bytes of weights, far more than it has"):
        load_t2s(write(tmp_path / "voice.ckpt", content))


def test_packed_zip(tmp_path: Path) -> None:
    bomb = b"\x80\x02" + text("0" * 10_000_000) + b"."
    path = write_pickle_zip(tmp_path / "voice.ckpt", bomb, deflate=True)
    assert path.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        load_t2s(path)


def test_entry_names_are_only_names(tmp_path: Path) -> None:
    pickled = tensor_pickle(732 * 8, (732, 8), (8, 1))
    path = write_pickle_zip(tmp_path / "voice.ckpt", pickled, {"../../../escaped": b"x", "0/../../0": b"x"})
    with pytest.raises(CheckpointError):
        load_t2s(path)
    assert sorted(tmp_path.iterdir()) == [path]
