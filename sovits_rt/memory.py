"""What memory that ran out looks like, and how to give back what torch keeps."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or in the process; torch's allocator for the CPU raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def give_back(device: torch.device) -> None:
    """Memory that torch keeps for later goes back to the device's driver."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
