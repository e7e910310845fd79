# SPDX-License-Identifier: GPL-2.0-or-later
"""Phases image and boot: from a built kernel and a machine template to a lab that answers.

A :class:`Lab` is the machine, the stand-in seen from outside, the root over SSH, and the devices,
together. ``hvlab up``, the scenarios and the detector proofs all boot through here.
"""

from __future__ import annotations

import functools
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lab.build import kernel as kernel_build
from lab.build.childtree import build_child_image
from lab.build.rootfs import build_initramfs, overlay_cpio
from lab.build.standin import StandIn, build_standin
from lab.build.toolstree import build_tools_image
from lab.build.vmm import build_vmm
from lab.cache import Cache
from lab.hypervisor.view import HypervisorView
from lab.machine import ivshmem, state
from lab.machine.argv import Accel, Boot, QemuInfo, below_4g
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.machine.qemu import choose_accel, find_qemu
from lab.machine.symbols import SymbolTable
from lab.machine.watch import Watch
from lab.model.errors import GuestDied
from lab.model.kernel import KernelImage
from lab.model.machine import Device, EduDevice, IvshmemDevice, LinuxChild, MachineSpec, PciDevice
from lab.progress import NullProgress, Progress
from lab.root.keys import make_keys
from lab.root.root import Root
from lab.templates import load_machine
from lab.validate.base import GONE_BUDGET, BaseLab, LabDevice
from lab.validate.child_files import child_overlay
from lab.validate.exchange import image_from_json, image_to_json
from lab.validate.kernel_log import KernelLog
from lab.validate.kernels import open_cache
from lab.validate.witness import ROOT_PARTITION, BlindWitness, KvmWitness, StandInWitness, Witness

__all__ = ["GONE_BUDGET", "ROOT_PARTITION", "BaseLab", "BootRequest", "Images", "Lab", "LabDevice"]

READY = "HVLAB-READY"
BOOT_BUDGET = 90.0
"""Seconds for a whole boot; a silent console ends it much earlier. Times the flavour's factor."""
SSH_BUDGET = 20.0
RAMDISK = "initramfs.cpio"
_VMM = {"kvm": "kvm-vmm"}
"""The VMM program of a machine, where it is not mshv-vmm."""
LAB_ARGS = ("sysctl.kernel.hung_task_timeout_secs=10", "rcutree.jiffies_till_first_fqs=0")
"""Boot arguments of every lab: a task stuck in the driver is reported by the kernel itself before the
lab's own patience ends. And an RCU grace period looks for its end at once, not after a tick, which is
10 ms with the cheap HZ of our kernels: the driver waits for several whenever a partition goes."""


@dataclass(frozen=True, slots=True)
class BootRequest:
    """What to boot. ``kernel_args`` are added to the template's."""

    machine: MachineSpec
    kernel: KernelImage
    qemu: str | None = None
    kernel_args: tuple[str, ...] = ()
    template: str = "mshv-root"
    params: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    detached: bool = False

    @property
    def driver_args(self) -> tuple[str, ...]:
        """Everything on the kernel's command line that a module of it could mean."""
        return (*self.machine.kernel_args, *self.kernel_args)


@dataclass(frozen=True, slots=True)
class Images:
    """What every boot of a request has in common."""

    standin: StandIn | None
    initramfs: Path
    qemu: QemuInfo
    accel: Accel
    disks: tuple[Path, ...] = ()

    @classmethod
    def of(cls, request: BootRequest, cache: Cache, progress: Progress | None = None) -> Images:
        """Phase image: built unless cached. Raises LabUnavailable."""
        standin = build_standin(cache) if request.machine.hypervisor == "stand-in" else None
        qemu = find_qemu(request.qemu)
        accel = choose_accel(request.machine, qemu)
        vmm = build_vmm(cache, vmm_of(request.machine))
        disks: tuple[Path, ...] = ()
        if isinstance(request.machine.child, LinuxChild):
            progress = progress or NullProgress()
            disks = (build_tools_image(cache, progress), build_child_image(vmm, cache, progress))
        return cls(standin, build_initramfs(vmm, cache), qemu, accel, disks)


class Lab(BaseLab):
    """A lab in QEMU. Use :meth:`boot` or :meth:`attach`; :meth:`close` ends it, :meth:`leave` does not."""

    kernel: KernelImage
    watch: Watch

    def __init__(self, machine: Machine, kernel: KernelImage, factor: float) -> None:
        super().__init__(machine.spec, machine.lab.name, kernel)
        self.machine = machine
        self.factor = factor
        self.symbols = _symbols(kernel)
        self.watch = Watch(machine, factor=factor, symbols=self.symbols)
        self._end = ExitStack()
        self._module_symbols: SymbolTable | None = None

    @classmethod
    def boot(
        cls, request: BootRequest, progress: Progress, cache: Cache | None = None, *, modules: bool = True
    ) -> Lab:
        """Boot to an SSH login. Raises GuestDied (phase ``boot`` or ``ssh``) or LabError; nothing stays.

        Without ``modules`` the kernel's modules are left out: :meth:`load_modules` brings them later.
        """
        images = Images.of(request, cache or open_cache(), progress)

        def fill(folder: state.Lab) -> Path:
            keys = make_keys()
            keys.save(folder.path)
            # On any other machine the driver would only refuse to load.
            wanted = modules and request.machine.hypervisor == "stand-in"
            more = _modules(request.kernel, request.driver_args) if wanted else {}
            if isinstance(request.machine.child, LinuxChild):
                more |= child_overlay(keys.public, request.kernel.bzimage, folder.path)
            ramdisk = folder.path / RAMDISK
            ramdisk.write_bytes(images.initramfs.read_bytes() + overlay_cpio(keys.overlay() | more))
            return ramdisk

        def start(folder: state.Lab, files: BootFiles, nonce: int) -> Machine:
            args = (*LAB_ARGS, *request.kernel_args)
            boot = Boot(wait=not request.detached, kernel_args=args)
            progress.step(0, None, f"{folder.name}: {images.accel.reason}")
            return Machine.start(
                request.machine, images.qemu, images.accel, files, folder, boot=boot, nonce=nonce
            )

        return cls.bring(request, images, fill, start, READY)

    @classmethod
    def bring(
        cls,
        request: BootRequest,
        images: Images,
        fill: Callable[[state.Lab], Path],
        start: Callable[[state.Lab, BootFiles, int], Machine],
        ready: str,
    ) -> Lab:
        """A lab from its parts: ``fill`` puts keys into the folder and returns the ramdisk, ``start``
        starts the machine, ``ready`` is what the console must say before SSH is tried."""
        started = time.monotonic()
        with ExitStack() as undo:
            folder = state.create(request.name, detached=request.detached, machine=request.machine.name)
            undo.callback(folder.remove)
            ramdisk = fill(folder)
            nonce = ivshmem.new_nonce()
            folder.update(info=_info(request, images.standin, nonce))
            elf = images.standin.elf if images.standin else None
            machine = start(folder, BootFiles(request.kernel.bzimage, ramdisk, elf, images.disks), nonce)
            undo.callback(machine.stop)
            lab = cls(machine, request.kernel, kernel_build.flavour(request.kernel.flavour).time_factor)
            lab.watch.wait(
                lambda: ready in machine.console.text(),
                BOOT_BUDGET * lab.factor,
                "boot",
                "the root's init to say that it is ready",
                booting=True,
            )
            undo.push(lab._release)
            lab._connect(images.standin)
            lab.boot_seconds = time.monotonic() - started
            undo.pop_all()
        lab._end.callback(folder.remove)
        lab._end.callback(machine.stop)
        return lab

    def load_modules(self, kernel_args: tuple[str, ...]) -> None:
        """Bring the kernel's modules over SSH and load them. GuestDied when the kernel refuses one."""
        for path, (data, mode) in _modules(self.kernel, kernel_args).items():
            self.root.put(data, f"/{path}", mode)
        load = "while read -r m p; do insmod $m $p || exit 1; done </lab/modules.list"
        done = self.root.run(load, check=False)
        if done.rc:
            raise GuestDied(
                "the kernel refuses the module", kind="module", phase="boot", detail=done.err or done.out
            )

    @classmethod
    def attach(cls, name: str | None) -> Lab:
        """A lab that ``hvlab up`` left running. Raises BadInput when there is none of that name."""
        folder = state.find(name)
        info = folder.record.info
        spec = load_machine(info["template"], info["params"])
        machine = Machine.attach(folder, spec)
        try:
            kernel = image_from_json(info["kernel"])
            lab = cls(machine, kernel, kernel_build.flavour(kernel.flavour).time_factor)
            standin = (
                StandIn(Path(info["standin"][0]), Path(info["standin"][1]), info["standin"][2])
                if info["standin"]
                else None
            )
            lab._release.callback(machine.detach)
            lab._connect(standin)
        except BaseException:
            machine.detach()
            raise
        return lab

    def _connect(self, standin: StandIn | None) -> None:
        machine, folder = self.machine, self.machine.lab
        if standin is not None:
            self._view = HypervisorView(machine.files.ram, standin.symbols, below_4g(machine.spec.memory))
            self._release.callback(self._view.close)
        host_key = (folder.path / "known_host").read_text().strip()
        self.root = Root(
            "127.0.0.1",
            machine.ssh_port,
            folder.path / "id_ed25519",
            self.watch,
            host_key=host_key,
            vmm=f"/sbin/{vmm_of(machine.spec)}",
            factor=self.factor,
        )
        self._release.callback(self.root.close)
        self.root.connect(SSH_BUDGET * self.factor)
        self.witness = self._find_witness()
        self.kernel_log = KernelLog(self.root, lambda start: machine.console.raw(start))
        self.devices = tuple(_device(machine, d) for d in machine.spec.devices)
        for device in self.devices:
            if device.memory is not None:
                self._release.callback(device.memory.close)

    def _find_witness(self) -> Witness:
        if self._view is not None:
            return StandInWitness(self._view)
        if self.spec.hypervisor == "kvm":
            return KvmWitness(self.spec.name, self.root)
        return BlindWitness(self.spec.name)

    def alive(self) -> bool:
        """Whether QEMU runs and nothing in it has died."""
        return self.machine.alive() and self.machine.death() is None

    def symbolise(self, address: int) -> str:
        """``function+0x12`` of the kernel under test; hex when unknown."""
        for table in (self._symbols_of_modules() if self.kernel.modules else None, self.symbols):
            if table is not None and table.find(address):
                return table.name(address)
        return f"{address:#x}"

    def _symbols_of_modules(self) -> SymbolTable:
        """Where the root loaded the modules of this kernel; asked once, empty if it cannot say any more."""
        if self._module_symbols is None:
            self._module_symbols = SymbolTable(())
            names = [f"\\[{module.stem}\\]$" for module in self.kernel.modules]
            try:
                listed = self.root.run(
                    f"grep -E {shlex.quote('|'.join(names))} /proc/kallsyms", check=False
                ).out
            except GuestDied:
                return self._module_symbols
            text = "\n".join(line.split("\t")[0] for line in listed.splitlines())
            self._module_symbols = SymbolTable.from_system_map(text)
        return self._module_symbols

    def close(self) -> None:
        """End the lab: QEMU, files, folder. Safe to call twice. A lab that was attached only gets left."""
        self._release.close()
        self._end.close()

    def keep(self) -> None:
        """Leave a lab that was booted detached to itself: it is up now, under its name."""
        self._release.callback(self.machine.detach)
        self._release.close()
        self._end.pop_all()
        self.machine.lab.detach()


@functools.lru_cache(maxsize=4)
def _symbols(kernel: KernelImage) -> SymbolTable | None:
    if not kernel.system_map.is_file():
        return None
    return SymbolTable.from_system_map(kernel.system_map.read_text())


def _modules(kernel: KernelImage, kernel_args: tuple[str, ...]) -> dict[str, tuple[bytes, int]]:
    """The kernel's modules and the list that init loads them from.

    insmod does not look at the kernel's command line, so the driver's flags (``hv_...`` without a
    value, as a built-in driver takes them) become parameters of the module.
    """
    if not kernel.modules:
        return {}
    flags = " ".join(f"{a}=1" for a in kernel_args if a.startswith("hv_") and "=" not in a)
    files = {f"lab/{m.name}": (m.read_bytes(), 0o600) for m in kernel.modules}
    listing = "".join(f"/lab/{m.name} {flags}\n" for m in kernel.modules)
    return {**files, "lab/modules.list": (listing.encode(), 0o600)}


def _info(request: BootRequest, standin: StandIn | None, nonce: int) -> dict[str, object]:
    return {
        "nonce": nonce,
        "template": request.template,
        "params": request.params,
        "kernel": image_to_json(request.kernel),
        "kernel_args": list(request.kernel_args),
        "standin": [str(standin.elf), str(standin.symbols), standin.key] if standin else None,
    }


def vmm_of(spec: MachineSpec) -> str:
    """Name of the VMM program that a machine's root runs."""
    return _VMM.get(spec.hypervisor, "mshv-vmm")


def _address(spec: MachineSpec, device: IvshmemDevice | EduDevice) -> str:
    """Firmware gives root ports their buses in the order of their slots."""
    if not device.port:
        return f"0000:00:{device.slot:02x}.0"
    ports = [
        d.slot for d in spec.devices if not isinstance(d, PciDevice) and d.port and d.slot <= device.slot
    ]
    return f"0000:{len(ports):02x}:00.0"


def _device(machine: Machine, device: Device) -> LabDevice:
    assert not isinstance(device, PciDevice), "only an external machine has those"
    bdf = _address(machine.spec, device)
    if isinstance(device, IvshmemDevice):
        memory = machine.device_memory(device.id)
        return LabDevice(device.id, device.kind, bdf, 2, device.size // 4096, memory, machine.nonce)
    return LabDevice(device.id, device.kind, bdf, 0, (1 << 20) // 4096)
