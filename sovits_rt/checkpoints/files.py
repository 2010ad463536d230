"""Opening model files: what is wrong with a path or a download, said before anything reads further."""

import hashlib
import mmap
import os
import stat
from pathlib import Path

from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError

Pathlike = str | os.PathLike[str]
_AGAIN = "download or copy it again"


def content_digest(path: Pathlike) -> str:
    """SHA-256 of a file's bytes, in hex (about 1 ms per MB). Raises CheckpointError if the file can't be read."""
    with map_file(path) as content:
        return hashlib.sha256(content).hexdigest()


def map_file(path: Pathlike) -> mmap.mmap:
    """The file as memory, read when touched. Writing to it changes this process's copy only, never the file.

    Raises CheckpointError for a missing, empty or unreadable file and for a folder.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError(f"{path} is a folder, but a model file is expected: name the file inside it.")
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{path} is not a regular file, but a model file is expected.")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"{path} is empty (0 bytes), probably a failed download: {_AGAIN}.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist: check the path of the model file.") from error
    except PermissionError as error:
        raise CheckpointError(f"{path} can't be read, permission denied: check the file's owner and mode.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {quoted(str(error))}.") from error


def foreign_content(path: Path, content: mmap.mmap) -> CheckpointError:
    """The error for content that is neither form that torch.save writes; says what it is instead where one can tell."""
    start = content[:512]
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the model itself: run `git lfs pull` in its folder or download the real file"
    elif text[:1] == b"<":
        what = f"is a web page, not a model, probably a failed download: {_AGAIN}"
    elif is_safetensors(content):
        what = "is a safetensors file, but a checkpoint written by torch.save (.ckpt, .pth) is expected: give that one"
    elif start[257:262] == b"ustar":
        what = (
            "is in the tar format of PyTorch before 0.4, which sovits-rt does not read: save it again with torch.save"
        )
    elif start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        what = "is a pickle that torch.save did not write, so it holds no model that sovits-rt could read"
    elif not any(byte < 9 or 13 < byte < 32 for byte in start):
        what = f"is a text file that begins with {quoted(start[:40].decode('utf-8', 'replace'))}, not a model: {_AGAIN}"
    else:
        what = (
            f"is not a model file: it begins with {quoted(start[:8].hex(' '))} instead of a torch.save header; {_AGAIN}"
        )
    return CheckpointError(f"{path} {what}.")


def is_safetensors(content: mmap.mmap) -> bool:
    header_bytes = int.from_bytes(content[:8], "little")
    return content[8:9] == b"{" and 8 + header_bytes <= len(content)
