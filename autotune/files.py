"""Files that are whole or not there: no reader and no killed process ever meets half of one."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """UTF-8, as it is, over what was there; on the disk when this returns. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
