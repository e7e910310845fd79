# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab that is a machine of others: an existing root partition, reached by SSH and nothing else.

Nothing is booted, bound or tripped on purpose there. The lab uploads its VMM, drives a child with it,
listens to the driver's traces in a trace buffer of its own, and takes all of that away again.
"""

from __future__ import annotations

import os

from lab.build.vmm import BINARY, build_vmm
from lab.cache import Cache
from lab.child.protocol import VmmError
from lab.child.vmm import Vmm
from lab.machine.ivshmem import WORDS_PER_PAGE
from lab.model.errors import LabUnavailable
from lab.model.machine import MachineSpec, PciDevice
from lab.progress import Progress
from lab.root.root import Root
from lab.validate import preflight
from lab.validate.base import BaseLab, LabDevice
from lab.validate.kernel_log import KernelLog
from lab.validate.kernels import open_cache
from lab.validate.trace_witness import TraceWitness
from lab.validate.witness import Witness

FOLDERS = ("/run", "/var/tmp", "/tmp", "/root")
"""Where an uploaded program may be allowed to run; some of them are often mounted noexec."""
_LOG_END = 1 << 62
"""Beyond every kernel log: the VMM only shows that it runs."""
IDENTITY_WORDS = (0, 1, WORDS_PER_PAGE - 1)
"""Words of each page that the root reads beforehand: what a child must read there later."""
_DISTINCT = 2
"""Pages that must differ in their first word, at least, for a wrong page to show."""


class ExternalLab(BaseLab):
    """Use :meth:`connect`; :meth:`close` leaves the machine as it was."""

    witness: Witness

    def __init__(self, spec: MachineSpec, root: Root) -> None:
        super().__init__(spec, f"{spec.name} {preflight.access_of(spec).host}", None)
        self.root = root
        self.watch = root.watch
        self._release.callback(root.close)
        self.notes: tuple[str, ...] = ()

    @classmethod
    def connect(cls, spec: MachineSpec, progress: Progress, cache: Cache | None = None) -> ExternalLab:
        """Log in, look, upload, listen. Raises BadInput or LabUnavailable; nothing stays then."""
        vmm = build_vmm(cache or open_cache(), BINARY).read_bytes()
        lab = cls(spec, preflight.connect(spec))
        try:
            facts = preflight.ask(lab.root, spec)
            checks = preflight.judge(facts, spec)
            preflight.require(checks, spec)
            lab.release = facts["release"]
            lab._upload(vmm)
            lab.kernel_log = KernelLog(lab.root)
            lab.log_mark = lab.kernel_log.position()
            lab.witness = lab._listen(facts.get("tracing", ""))
            lab.devices = tuple(lab._identify(d) for d in spec.devices if isinstance(d, PciDevice))
            for note in lab.notes:
                progress.note(note)
        except BaseException:
            lab.close()
            raise
        return lab

    def alive(self) -> bool:
        """Whether the connection stands."""
        return self.root.connected()

    def passthrough(self, device: LabDevice) -> None:
        """Nothing: the device is with vfio-pci, or the lab would not have begun."""

    def _upload(self, vmm: bytes) -> None:
        for folder in FOLDERS:
            path = f"{folder}/hvlab-{os.getpid()}-{BINARY}"
            install = f"[ -w {folder} ] && cat >{path} && chmod 700 {path} && {path} --kmsg {_LOG_END}"
            tried = self.root.run(install, stdin=vmm, check=False, timeout=60.0)
            if tried.rc == 0:
                self.root.vmm = path
                self._release.callback(self._remove, path)
                return
            self._remove(path)
        raise LabUnavailable(
            f"no folder of {', '.join(FOLDERS)} lets a program run",
            where=self.name,
            hint="mount one of them without noexec",
            detail=tried.err,
        )

    def _remove(self, path: str) -> None:
        if self.root.connected():
            self.root.run(f"rm -f {path}", check=False)

    def _listen(self, tracing: str) -> Witness:
        witness = TraceWitness(self.spec.name, self.root, tracing)
        if tracing:
            witness.start()
            self._release.callback(lambda: witness.stop() if self.root.connected() else None)
        self.notes = witness.notes()
        return witness

    def _identify(self, device: PciDevice) -> LabDevice:
        """What the root itself reads from the device, before any child can have changed it."""
        pages = self.root.pci_device(device.bdf).bar(device.bar).size >> 12
        vmm = Vmm(self.root)
        vmm.start()
        try:
            number = vmm.map_host(device.bdf, device.bar)
            at = [(page, word) for page in range(pages) for word in IDENTITY_WORDS]
            values = vmm.host_words(number, [page * 4096 + word * 8 for page, word in at])
        except VmmError as e:
            busy = " (another program holds it)" if e.errno_name == "EBUSY" else ""
            raise LabUnavailable(
                f"device {device.bdf} cannot be opened{busy}: {e.text}", where=self.name
            ) from e
        finally:
            vmm.close()
        words = dict(zip(at, values, strict=True))
        if distinct(words, pages) < min(pages, _DISTINCT):
            self.notes += (
                f"not observed: pages of {device.bdf} BAR{device.bar}, whose first words are all alike",
            )
            words = {}
        return LabDevice(device.id, device.kind, device.bdf, device.bar, pages, words=words)


def distinct(words: dict[tuple[int, int], int], pages: int) -> int:
    """How many different first words the pages have: 1 when no wrong page could ever show."""
    return len({words[page, 0] for page in range(pages)})
