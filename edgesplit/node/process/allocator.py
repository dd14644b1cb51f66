"""glibc's allocator in a process that computes: settings for its start, and giving memory back."""

import ctypes

# glibc gives freed tensors back to the kernel and page-faults them in again: MobileNetV2 spends
# half its time there. These keep the memory.
ALLOCATOR_ENV = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(2 << 30),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_ARENA_MAX": "1",
}


def return_free_memory() -> None:
    """Give what is in glibc's free lists back to the system; nothing with another C library."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
