"""Memory of several processes together."""

import psutil


def pss_bytes(processes: list[psutil.Process]) -> float:
    """Their PSS in bytes: what processes share counts once. One that has ended counts nothing."""
    total = 0.0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
