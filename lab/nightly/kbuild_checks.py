# SPDX-License-Identifier: GPL-2.0-or-later
"""What the compiler says of the folders that a series touches, in one configuration, patch by patch.

A configuration's tree is made once per base and kept: configured, prepared, and with the base's objects of
those folders. Each patch is compiled on a copy of it, on top of the patch before. Nothing is linked.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from lab.build import config, diagnose, warnings
from lab.build.flavours import flavour
from lab.build.kernel import BUILD_SPACE, CONFIG_BUDGET, Build, Make
from lab.build.make import MakeFailed, run_make
from lab.build.toolchain import toolchain
from lab.build.workplace import copy_objects
from lab.cache import remove_tree
from lab.hashing import digest, file_sha256
from lab.model.errors import LabUnavailable
from lab.model.kernel import AppliedSeries, KernelSource
from lab.source.command import run
from lab.validate.kernels import Builder

TREE_KIND, KIND = "check-tree", "check"
_RECIPE = "2"
BUDGET = 900.0
"""Seconds for one make; a driver's folder takes half a minute on one processor, and a tree not much more."""
CROSS = "aarch64-linux-gnu-"
_SAID, _LOG, _FRAGMENT = "said.json", "check.log", "hvlab.config"
_REFUSED = re.compile(r"\bC=\d+ specified, but \S+ is not available")
_WHOLE_FOLDER = 60
"""C files up to which a folder is compiled whole; of a larger one, the touched files alone."""
_NOT_COMPILED = (
    "Documentation",
    "MAINTAINERS",
    "CREDITS",
    ".mailmap",
    "tools",
    "samples",
    "scripts",
    "LICENSES",
)
_HEADER_USERS = {
    "x86": ("drivers/hv/", "arch/x86/hyperv/", "arch/x86/kernel/cpu/mshyperv.o"),
    "arm64": ("drivers/hv/", "arch/arm64/hyperv/"),
}
"""What includes the headers that a series for this driver touches outside the folders of C files."""
_ARM64 = {
    "EXPERT": "y",
    "SMP": "y",
    "EFI": "y",
    "ACPI": "y",
    "PCI": "y",
    "PCI_MSI": "y",
    "ARM64_4K_PAGES": "y",
    "MODULES": "y",
    "EVENTFD": "y",
    "DEBUG_FS": "y",
    "HYPERV": "y",
    "HYPERV_VMBUS": "y",
    "MSHV_ROOT": "y",
}


@dataclass(frozen=True, slots=True)
class KbuildCheck:
    """One configuration and way to compile. ``settings`` go on top of the plain flavour's, on another
    ``arch`` they are all there is; ``must`` are those without which the check means nothing. ``style``:
    its warnings are advice; ``advice``: so is all that it says. ``tool`` is a program that it takes, ""
    for none."""

    name: str
    arch: str = "x86"
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    style: bool = False
    advice: bool = False
    tool: str = ""

    def wanted(self, tree: Path) -> dict[str, str]:
        """The whole configuration that it asks for."""
        plain = config.wanted(flavour("plain"), tree) | {"HYPERV_VMBUS": "y"} if self.arch == "x86" else {}
        return plain | dict(self.settings)

    @property
    def make_args(self) -> tuple[str, ...]:
        """Arguments of every make."""
        cross = (f"CROSS_COMPILE={CROSS}",) if self.arch == "arm64" else ()
        return (f"ARCH={self.arch}", *cross, *self.flags)


CHECKS = (
    KbuildCheck("MSHV_ROOT=y", settings={"MSHV_ROOT": "y"}, must=("MSHV_ROOT",)),
    KbuildCheck("MSHV_ROOT=m", settings={"MSHV_ROOT": "m"}, must=("MSHV_ROOT",)),
    KbuildCheck("MSHV_ROOT=n", settings={"MSHV_ROOT": "n"}, must=("MSHV_ROOT",)),
    KbuildCheck(
        "HYPERV=n",
        settings={"HYPERV": "n", "HYPERV_VMBUS": "n", "MSHV_ROOT": "n"},
        must=("HYPERV", "MSHV_ROOT"),
    ),
    KbuildCheck("W=1", flags=("W=1",), style=True),
    KbuildCheck("arm64", "arm64", settings=_ARM64, must=("HYPERV", "MSHV_ROOT"), tool=f"{CROSS}gcc"),
    KbuildCheck("sparse", flags=("C=1",), advice=True, tool="sparse"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the compiler said of all the folders, ``FILE:LINE: TEXT``. ``void`` says why that
    means nothing on this base, "" if it does."""

    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    void: str = ""

    @classmethod
    def load(cls, entry: Path) -> Said:
        """From a cache entry."""
        known = json.loads((entry / _SAID).read_text())
        return cls(tuple(known["warnings"]), tuple(known["errors"]), known["void"])

    def save(self, entry: Path) -> None:
        """Into a cache entry."""
        (entry / _SAID).write_text(json.dumps(asdict(self)))


def targets(files: Iterable[str], tree: Path, arch: str) -> tuple[str, ...]:
    """What to have made for these files of a series: folders, and single objects of large folders.

    Code of another architecture is left out. Empty when nothing of it is compiled.
    """
    found: list[str] = []
    for name in files:
        path = PurePosixPath(name)
        if path.parts[0] in _NOT_COMPILED or (path.parts[0] == "arch" and path.parts[1:2] != (arch,)):
            continue
        folder = _made(path, tree)
        if path.suffix == ".h" and (folder is None or "include" in path.parts):
            found += [t for t in _HEADER_USERS[arch] if (tree / t).is_dir() or t.endswith(".o")]
        elif folder is None:
            continue
        elif _c_files(tree / folder) <= _WHOLE_FOLDER:
            found.append(f"{folder}/")
        elif path.suffix == ".c":
            found.append(f"{path.with_suffix('.o')}")
    return tuple(sorted(set(found)))


def _made(path: PurePosixPath, tree: Path) -> PurePosixPath | None:
    """The innermost folder of a file that has a Makefile and is not the root."""
    for folder in path.parents:
        if folder != PurePosixPath(".") and any(
            (tree / folder / m).is_file() for m in ("Makefile", "Kbuild")
        ):
            return folder
    return None


def _c_files(folder: Path) -> int:
    count = 0
    for _ in folder.rglob("*.[cS]"):
        count += 1
        if count > _WHOLE_FOLDER:
            break
    return count


def void(
    check: KbuildCheck, wanted: Mapping[str, str], final: Mapping[str, str], lines: Iterable[str]
) -> str:
    """Why a check means nothing on a base, told by its configuration and what make said; "" if it does."""
    unset = [f"CONFIG_{s}={wanted[s]}" for s in check.must if final.get(s, "n") != wanted[s]]
    if unset:
        return f"this base cannot have {', '.join(unset)}"
    # make goes on without the checker then, and all is well.
    refused = next((line for line in lines if _REFUSED.search(line)), "")
    return f"this base refuses {check.tool}: it is not up to date" if refused else ""


class Bench:
    """One check of one series on one base. Use it as a context: it owns a copy of the tree meanwhile.

    Raises LabUnavailable for what is the lab's own trouble.
    """

    def __init__(
        self, check: KbuildCheck, source: KernelSource, builder: Builder, made: Sequence[str]
    ) -> None:
        self._check = check
        self._source = source
        self._builder = builder
        self._targets = tuple(made)
        self._open = ExitStack()
        self._obj: Path | None = None
        self._stamps: dict[str, tuple[str, int]] = {}
        self._said = Said()
        self._tree = self._base_tree()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def base(self) -> Said:
        """What the compiler says of the base."""
        return Said.load(self._tree)

    def patched(self, applied: AppliedSeries) -> Said:
        """What it says with the first patches, which must be more than at the last call."""
        key = digest(KIND, _RECIPE, self._tree.name, applied.key)
        known = self._builder.cache.get(KIND, key)
        if known is not None:
            return Said.load(known)

        def produce(entry: Path) -> None:
            self._compile(applied).save(entry)

        about = {"check": self._check.name, "tree": self._tree.name, "series": applied.key}
        return Said.load(self._builder.cache.publish(KIND, key, produce, about=about))

    # ---- the base's tree

    def _base_tree(self) -> Path:
        own = self._check
        plain = CHECKS[0] if own.arch == "x86" else KbuildCheck("plain", own.arch, _ARM64, tool=own.tool)
        prepared = self._publish(plain, (), None)
        return self._publish(self._check, self._targets, prepared)

    def _publish(self, check: KbuildCheck, made: Sequence[str], start: Path | None) -> Path:
        wanted = check.wanted(self._source.tree)
        key = digest(
            TREE_KIND,
            _RECIPE,
            self._source.key,
            config.render(wanted),
            "\0".join(check.make_args),
            "\0".join(made),
            _tools(check),
            *(["no sandbox"] if self._builder.sandbox.kind == "none" else []),
        )

        def produce(entry: Path) -> None:
            self._builder.cache.require_space(BUILD_SPACE, "trees for checks")
            obj = entry / "obj"
            if start is None:
                obj.mkdir()
            else:
                copy_objects(start / "obj", obj)
            build = self._build(check, None, {})
            log = entry / _LOG
            with build.at(obj, log) as make:
                _configure(make, check, make.host_obj(obj), wanted, log)
                try:
                    _make(make, [*check.make_args, "-k", *(made or ["prepare"])], log)
                except MakeFailed as e:
                    failed = _failure(e, make.place.src)
                else:
                    failed = ()
            if failed and not made:
                raise LabUnavailable(f"the base cannot be prepared for {check.arch}: {failed[0]}")
            lines = _lines(log)
            final = config.parse((obj / ".config").read_text())
            why = void(check, wanted, final, lines)
            Said(warnings.parse(lines), warnings.errors(lines) or failed, why).save(entry)

        about = {"check": check.name, "source": f"{self._source.lock.name} {self._source.lock.version}"}
        return self._builder.cache.publish(
            TREE_KIND, key, produce, about=about, progress=self._builder.progress
        )

    # ---- one patch more

    def _compile(self, applied: AppliedSeries) -> Said:
        touched = {*applied.files, *applied.deleted}
        if self._obj is None or not set(self._stamps) <= touched:
            self._start_over()
        assert self._obj is not None
        obj, now = self._obj, time.time_ns()
        shas = {name: file_sha256(applied.overlay / name) for name in applied.files}
        stamps = {
            name: self._stamps[name][1] if self._stamps.get(name, ("",))[0] == sha else now
            for name, sha in shas.items()
        }
        log = obj.parent / _LOG
        log.unlink(missing_ok=True)
        check = self._check
        failed: tuple[str, ...] = ()
        with self._build(check, applied, stamps).at(obj, log) as make:
            try:
                if any(PurePosixPath(f).name.startswith("Kconfig") for f in touched):
                    _configure(make, check, make.host_obj(obj), check.wanted(self._source.tree), log)
                _make(make, [*check.make_args, "-k", *self._targets], log)
            except MakeFailed as e:
                failed = _failure(e, make.place.src)
        lines = _lines(log)
        self._stamps = {name: (shas[name], stamps[name]) for name in applied.files}
        self._stamps |= dict.fromkeys(applied.deleted, ("", 0))
        self._said = Said(
            warnings.together(lines, self._said.warnings), warnings.errors(lines) or failed, self._said.void
        )
        return self._said

    def _start_over(self) -> None:
        """A copy of the base's tree. A file that is as in the base again is older than its object."""
        if self._obj is None:
            scratch = self._open.enter_context(self._builder.cache.scratch(KIND))
            self._obj = scratch / "obj"
        remove_tree(self._obj)
        copy_objects(self._tree / "obj", self._obj)
        self._stamps, self._said = {}, self.base()

    def _build(self, check: KbuildCheck, applied: AppliedSeries | None, stamps: Mapping[str, int]) -> Build:
        b = self._builder
        jobs = b.pool or b.selectors.make_jobs
        label = f"check {check.name}"
        return Build(self._source, applied, b.cache, b.sandbox, b.progress, jobs, label, stamps)


def _make(make: Make, args: Sequence[str], log: Path, budget: float = BUDGET) -> None:
    """As Make itself, without turning what fails into an error for people."""
    build = make.build
    run_make(
        make.place,
        args,
        jobs=build.jobs,
        progress=build.progress,
        log=log,
        label=build.label,
        total=None,
        budget=budget,
    )


def _configure(make: Make, check: KbuildCheck, host_obj: Path, wanted: Mapping[str, str], log: Path) -> None:
    (host_obj / _FRAGMENT).write_text(config.render(wanted))
    fragment = f"KCONFIG_ALLCONFIG={make.place.obj}/{_FRAGMENT}"
    _make(make, [*check.make_args, fragment, "allnoconfig"], log, CONFIG_BUDGET)


def _failure(error: MakeFailed, src: str) -> tuple[str, ...]:
    """Errors of a make that ended badly: those of the compiler, or the first thing that looks like one."""
    if found := warnings.errors(error.lines):
        return found
    first = diagnose.first_error(error.lines, src)
    return (f"{first.file or 'make'}:{first.line}: {first.message}",)


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.is_file() else []


def _tools(check: KbuildCheck) -> str:
    """Versions of what compiles. LabUnavailable if a tool is missing, which :func:`missing` tells first."""
    own = [check.tool, "--version"] if check.tool else []
    more = run(own, what="asking for tool versions", timeout=20).out.splitlines()[:1] if own else []
    return "\n".join((toolchain(), *more))


def missing(check: KbuildCheck) -> str:
    """Why the check cannot be made on this host; "" if it can."""
    if check.tool and shutil.which(check.tool) is None:
        return f"{check.tool} is not installed"
    return ""
