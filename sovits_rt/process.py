"""The only place that changes process-wide state: environment, cores, threads.

`environment` must be in place before torch is imported, since OpenMP reads it when it is loaded; the command line
applies it to itself, the tuner hands it to each trial's process.
"""

import ctypes
import os
from collections.abc import Mapping

import psutil

from autotune.machine import Machine
from sovits_rt.errors import SettingsError
from sovits_rt.settings import ProcessSettings, core_set, thread_count

# How long an idle thread spins before it sleeps, in libgomp's turns. A thousand cover the gaps between operations and
# cost nothing on a busy machine; a million are faster on an idle one and several times slower on a busy one.
_SPINS = {"passive": "0", "brief": "1000", "active": "1000000"}

# glibc's mallopt: parameters as <malloc.h> numbers them, and what "allocator" gives them. Not by MALLOC_…, which glibc
# reads before Python runs. Blocks from the mmap threshold on are given back when freed and touched page by page when
# they come again; 32 MiB is the highest that it takes. torch has no builds for other C libraries of Linux.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_ALLOCATOR = {
    "keep": {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 1 << 30},
    "lean": {_MMAP_THRESHOLD: 128 << 10, _TRIM_THRESHOLD: 128 << 10, _ARENA_MAX: 1},
}


def environment(settings: ProcessSettings, machine: Machine) -> Mapping[str, str]:
    """Variables for OpenMP (GNU and LLVM/Intel) and MKL."""
    threads = str(thread_count(machine, settings))
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "ACTIVE" if settings.wait_policy == "active" else "PASSIVE",
        "GOMP_SPINCOUNT": _SPINS[settings.wait_policy],
        "KMP_BLOCKTIME": "200" if settings.wait_policy == "active" else "0",
    }


def compute_exactly() -> None:
    """fp32 numbers are multiplied as such: NVIDIA's GPUs else round them to 10 bits in convolutions (TF32)."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def apply(settings: ProcessSettings, machine: Machine) -> None:
    """Set the environment and the allocator, and pin this process; call before torch is imported."""
    os.environ.update(environment(settings, machine))
    if settings.allocator != "standard":
        set_allocator(settings.allocator)
    if settings.cores != "unpinned":
        psutil.Process().cpu_affinity(list(core_set(machine, settings.cores)))


def threads() -> int:
    """How many torch uses for work that the calling thread asks for."""
    import torch

    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """So many for work that the calling thread asks for, from now on; OpenMP keeps the number per thread."""
    import torch

    torch.set_num_threads(count)


def set_allocator(name: str) -> None:
    """ "keep" or "lean", for all of this process from now on. Raises SettingsError if the C library refuses."""
    library = ctypes.CDLL(None)
    for parameter, value in _ALLOCATOR[name].items():
        if not hasattr(library, "mallopt") or library.mallopt(parameter, value) != 1:
            raise SettingsError(
                f"process.allocator={name} needs glibc, whose mallopt({parameter}, {value}) failed here; use standard."
            )


def set_threads(settings: ProcessSettings, machine: Machine) -> None:
    """Give torch its threads. With OMP_NUM_THREADS in place this changes nothing; without (Python API), it does."""
    use_threads(thread_count(machine, settings))
