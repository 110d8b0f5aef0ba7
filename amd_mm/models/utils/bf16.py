import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch


def supports_fast_bf16(device: str | torch.device) -> bool:
    """Whether the device has arithmetic units for bfloat16.

    Without them bfloat16 is emulated, which is several times slower than float32.
    """
    device = torch.device(device)
    if device.type == 'cuda' and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == 'cpu':
        info = Path('/proc/cpuinfo')  # x86: avx512_bf16, amx_bf16; Arm: bf16
        return info.exists() and bool(re.search(r'\b(avx512_|amx_)?bf16\b', info.read_text()))
    return True


def bf16_autocast(device: torch.device, enabled: bool) -> AbstractContextManager:
    """Autocast to bfloat16, or float32 also under autocast. The meta device has no autocast."""
    if device.type == 'meta':
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
