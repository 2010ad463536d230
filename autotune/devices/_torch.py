"""What the installed torch was built for, read from its files: nothing is imported."""

import re
from collections.abc import Mapping

from autotune.reader import Reader

_VERSION_LINE = re.compile(r"^(cuda|hip)\b[^=\n]*=\s*['\"]([^'\"]+)", re.MULTILINE)


def torch_build(reader: Reader) -> Mapping[str, str]:
    """ "cuda" or "hip" -> version, "kernels" -> "sm_75 sm_80 …"; empty for a build without GPUs, or no torch."""
    if reader.package("torch") is None:
        return {}
    found = dict(_VERSION_LINE.findall(reader.module_file("torch", "version.py") or ""))
    kernels = " ".join(reader.kernels()) if found else ""
    return {**found, "kernels": kernels} if kernels else found


def build_refusal(reader: Reader, key: str, name: str) -> tuple[str, str] | None:
    """(why, what to do) if torch can't use any device of a vendor, or None. key: "cuda" or "hip"; name: of the vendor's
    platform."""
    version = reader.package("torch")
    if version is None:
        return "torch is not installed", "install torch"
    if reader.module_file("torch", "version.py") is None or key in torch_build(reader):
        return None
    return (
        f"the installed torch {version} is built without {name}",
        f"install a {name} build of torch (pytorch.org/get-started)",
    )
