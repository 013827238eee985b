"""Where tensors live and in which precision, decided once per process."""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the first CUDA device if there is one, else the CPU; anything else is torch's own name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies matrices in it, else float32.

    On a processor without AMX-BF16 or AVX512-BF16, bfloat16 is emulated and several times slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return torch.bfloat16 if fast else torch.float32


def keep_freed_memory() -> None:
    """Let this process keep the large blocks it frees, rather than return them to the system at every step.

    A training step on the CPU allocates the same hundreds of MiB again and again, and glibc would map and zero them
    anew each time: a fifth of the step. Costs nothing but resident memory; does nothing where libc is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on ``device`` now. On CUDA what the allocator holds unused counts as free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available
