"""Settings of glibc's allocator for every process that computes: set before it starts."""

# glibc gives freed tensors back to the kernel and page-faults them in again: MobileNetV2 spends
# half its time there. These keep the memory.
ALLOCATOR_ENV = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(2 << 30),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_ARENA_MAX": "1",
}
