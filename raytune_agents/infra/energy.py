"""Energy used by the machine, where it tells: RAPL counters of processors, NVML of NVIDIA GPUs.

Both count since boot for the whole package or card, whoever uses it: on a shared machine the others
are in it. Without any counter the answer is None, never 0, and `Meter.why` says what is missing.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NO_ENERGY = "this machine tells no energy: no readable RAPL counter in {} and no NVML"


def rapl(root: Path = POWERCAP) -> dict[str, tuple[float, float]]:
    """Processor package -> (joules so far, joules at which the counter starts again).

    Parts of a package (`intel-rapl:0:1`) are in it already, and `psys` holds all packages: both
    are left out, and so is a counter that only root may read.
    """
    found = {}
    for zone in sorted(root.glob("*-rapl:*")):
        if zone.name.count(":") > 1:
            continue
        with suppress(OSError, ValueError):
            now, most = (
                float((zone / f).read_text()) / 1e6 for f in ("energy_uj", "max_energy_range_uj")
            )
            if (zone / "name").read_text().strip() != "psys":
                found[zone.name] = (now, most)
    return found


def nvml() -> dict[str, tuple[float, float]]:
    """GPU -> (joules since the driver was loaded, infinity); {} without NVML or on older cards."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    found = {}
    for i in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):
            card = pynvml.nvmlDeviceGetHandleByIndex(i)
            joules = pynvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1e3
            found[f"gpu:{i}"] = (joules, float("inf"))
    return found


class Meter:
    """Joules used since it was made. Read it more often than a counter starts again (RAPL: some
    minutes under full load)."""

    def __init__(self, root: Path = POWERCAP):
        self.root, self.last = root, rapl(root) | nvml()
        self.used = 0.0
        self.why = "" if self.last else NO_ENERGY.format(root)

    def joules(self) -> float | None:
        """All counters together since the start; None where there is none."""
        if not self.last:
            return None
        now = rapl(self.root) | nvml()
        for name, (joules, most) in now.items():
            before = self.last.get(name, (joules, most))[0]
            # A counter that is smaller than before has started again at 0.
            self.used += joules - before + (most if joules < before else 0.0)
        self.last = now or self.last
        return self.used
