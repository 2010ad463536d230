"""What holds a process back, in one sentence, from what was measured: a pure function with named limits.

What comes from outside (quota, host, other programs) is looked for first: nothing inside the process can help there.
Knows nothing of what the process does.
"""

from autotune.devices import DeviceUsage
from autotune.measure import Guard
from autotune.usage import Usage

# Shares above which outside influence is named: those that make a measurement worthless make a run slow.
_GUARD = Guard()
# Other programs only matter where no core is left over: less than this share of the cores idle …
FULL_IDLE_SHARE = 0.1
# … and at least this share of them with others. Below it, getting them back gains less than a third.
FOREIGN_SHARE = 0.25
# Full cores are no matter for a process that sleeps: so many of its threads must have waited for one, on average.
QUEUED_THREADS = 0.1
# A GPU in whose sample periods hardly a moment was without a kernel can't be fed faster.
GPU_FULL = 0.9
# Memory that is in use this much of the time is what kernels wait for; arithmetic-bound ones stay far below.
MEMORY_FULL = 0.6
# Below this a reader wonders whether the GPU works at all, so it is explained.
GPU_LOW = 0.3
# What counts as all cores, and as one core: a thread that works all the time is seen a little below 1.
CORES_FULL = 0.9
ONE_CORE = 0.8
# Fewer cores than this: the process mostly waits.
WAITING_CORES = 0.2


def limit(usage: Usage, usable_cores: int) -> str:
    """One sentence. usable_cores: as `Machine.usable_cores`, with the quota counted."""
    return outside(usage, usable_cores) or _inside(usage, usable_cores)


def outside(usage: Usage, usable_cores: int) -> str:
    """What others take, in one sentence, or "" if they take nothing that matters."""
    if (usage.throttled_share or 0.0) > _GUARD.throttled_share:
        return (
            f"The container's CPU quota limits: it held the process back for {usage.throttled_share:.0%} of the time; "
            f"grant more than {usable_cores} CPUs or use fewer threads."
        )
    if (usage.stolen_share or 0.0) > _GUARD.steal_share:
        return (
            f"The host limits: other virtual machines took {usage.stolen_share:.0%} of the processor time; "
            "a quieter host or dedicated cores would help."
        )
    count = len(usage.cores)
    queued = usage.queued_threads is None or usage.queued_threads >= QUEUED_THREADS
    if queued and usage.idle_cores < FULL_IDLE_SHARE * count and usage.foreign_cores > FOREIGN_SHARE * count:
        return (
            f"Other programs limit: they kept {usage.foreign_cores:.1f} of the {count} cores busy and left "
            f"{usage.own_cores:.1f} for this one; stop them or run at another time."
        )
    busiest = busiest_device(usage)
    if busiest is not None and busiest.held_back and (busiest.busy or 0.0) >= GPU_FULL:
        return (
            f"{busiest.name} is held down by {busiest.held_back} while it is {busiest.busy:.0%} busy: "
            "cooling or a higher power limit would help."
        )
    return ""


def busiest_device(usage: Usage) -> DeviceUsage | None:
    """Of the accelerators that tell how busy they are; None if there is no such one."""
    telling = [device for device in usage.devices if device.busy is not None]
    return max(telling, key=lambda device: device.busy or 0.0, default=None)


def low_use(device: DeviceUsage) -> str:
    """Why little use of a GPU need not be a fault, in one sentence, or "" where there is nothing to explain."""
    if device.busy is None or device.busy >= GPU_LOW:
        return ""
    return (
        f"{device.name} ran a kernel in {device.busy:.0%} of the time, which is no fault by itself: it waits while "
        "models load and texts are prepared, and work that comes as many short kernels, one after the other, leaves "
        "gaps between them; even 2 % can be healthy if the output comes fast enough."
    )


def _inside(usage: Usage, usable_cores: int) -> str:
    device = busiest_device(usage)
    busy = 0.0 if device is None else device.busy or 0.0
    if device is not None and busy >= GPU_FULL:
        if (device.memory_busy or 0.0) >= MEMORY_FULL:
            return (
                f"{device.name} limits, memory-bandwidth-bound: {busy:.0%} busy, its memory in use "
                f"{device.memory_busy:.0%} of the time."
            )
        return f"{device.name} limits, compute-bound: it ran kernels {busy:.0%} of the time."
    if usage.own_cores >= CORES_FULL * usable_cores and usable_cores > 1:
        return f"The processor limits: {usage.own_cores:.1f} of {usable_cores} usable cores are busy with this program."
    if usage.own_cores >= ONE_CORE and device is not None:
        return (
            f"The processor limits, launch-bound: {usage.own_cores:.1f} of {usable_cores} cores prepare work that "
            f"{device.name} does faster than it comes, so it is {busy:.0%} busy."
        )
    if usage.own_cores >= ONE_CORE:
        return (
            f"The number of threads limits: {usage.own_cores:.1f} of {usable_cores} usable cores are busy with this "
            "program and the others wait."
            if usable_cores > 1
            else "The processor limits: its one usable core is busy with this program."
        )
    if usage.own_cores >= WAITING_CORES:
        return (
            f"Nothing is used fully: {usage.own_cores:.1f} of {usable_cores} cores work and then wait in turns, for "
            "disks, other processes or the GPU."
        )
    return f"Nothing limits: the program mostly waits for work and used {usage.own_cores:.2f} cores."
