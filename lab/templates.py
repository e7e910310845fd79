# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine templates: rendered with Jinja2, read as TOML, loaded into :class:`MachineSpec`.

A template declares its parameters itself: ``param("cpus", 2, "what it means")`` returns the value
that the user gave, else the default, and converts to the type of the default. A fourth argument lists
the allowed values, blank-separated. Declarations are found by reading the template, so they can be
listed without rendering it.

Everything that a template or a user may get wrong ends in BadInput with the template's file and line
and, for a name that does not exist, the nearest one that does.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from lab import paths
from lab.model.errors import BadInput
from lab.model.machine import (
    Device,
    EduDevice,
    IvshmemDevice,
    LinuxChild,
    MachineSpec,
    PciDevice,
    SshAccess,
    UserImages,
)

SUFFIX = ".toml.j2"
MAX_CPUS = 8
"""MAX_LPS of the stand-in."""
MIN_MEMORY = 512 << 20
"""The stand-in is linked at 256 MiB; Linux needs room above it."""
MAX_MEMORY = 64 << 30
PAGE_SIZE = 4096
MAX_BAR = 16 << 30
FIRST_SLOT, LAST_SLOT = 3, 30
"""PCI device numbers for template devices; 0 is q35's host bridge, 2 our network card, 31 the LPC bridge."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MULTI_REFUSED = (
    "multi-threaded TCG with more than one CPU corrupts SVM state (a data race in QEMU itself); "
    'use "single", or "parked" on QEMU 10 or newer'
)

_SIZE = (int, str)
_MACHINE_KEYS: dict[str, Any] = {
    "name": str,
    "hypervisor": str,
    "cpus": int,
    "memory": _SIZE,
    "tcg_thread": str,
    "cpu_model": str,
    "kernel_args": list,
    "hypervisor_args": list,
    "child": str,
    "linux_child": dict,
    "iommu": str,
    "device": list,
}
_LINUX_CHILD_KEYS: dict[str, Any] = {"cpus": int, "memory": _SIZE, "devices": list, "kernel_args": list}
MAX_CHILD_CPUS = 8
MIN_CHILD_MEMORY = 96 << 20
ROOT_NEEDS = 384 << 20
"""What is left of the machine's memory for the root when its child has touched all of its own."""
_REQUIRED = ("name", "cpus", "memory")
_HYPERVISORS = ("stand-in", "none", "kvm", "external", "hyperv")
_ALWAYS: dict[str, Any] = {"name": str, "hypervisor": str, "device": list}
_EXTERNAL_KEYS: dict[str, Any] = {
    **_ALWAYS,
    "host": str,
    "port": int,
    "user": str,
    "key": str,
    "known_hosts": str,
}
_HYPERV_KEYS: dict[str, Any] = {
    **_ALWAYS,
    "cpus": int,
    "memory": _SIZE,
    "disks": list,
    "firmware": str,
    "vars": str,
    "cpu_vendor": str,
    "ssh_port": int,
}
_DEVICE_KEYS: dict[str, dict[str, Any]] = {
    "ivshmem-plain": {"kind": str, "id": str, "slot": int, "size": _SIZE},
    "edu": {"kind": str, "id": str, "slot": int},
    "pci": {"kind": str, "id": str, "bdf": str, "bar": int},
}
_EMULATED = ("ivshmem-plain", "edu")
_BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_LAST_BAR = 5
_LAST_PORT = 65535

_TEMPLATE_FAILS = (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, MemoryError)
"""What expressions and filters raise inside a template besides Jinja2's own errors."""

ParamValue = int | bool | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as its template declares it."""

    name: str
    default: ParamValue
    help: str
    line: int
    choices: tuple[str, ...] = ()
    """Allowed values; empty: any."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered template: the TOML text, and the template it came from."""

    path: Path
    source: str
    text: str

    def place(self, key: str, nth: int = 0) -> str:
        """``file:line`` of the nth line of the template that sets ``key`` (the file if none does)."""
        return _place(self.path, self.source, rf"\s*(\[\[)?{re.escape(key)}\s*(=|\]\])", nth)


def parse_size(text: str | int) -> int:
    """Bytes of ``"64K"``, ``"4M"``, ``"1G"``, ``"1GiB"`` or a plain number. Raises ValueError."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size like 64K, 4M or 1G")
    return int(match[1]) * _UNITS[match[2].upper()]


def available() -> dict[str, Path]:
    """Names of the shipped machine templates and their files."""
    folder = paths.templates_dir() / "machines"
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob("*" + SUFFIX))}


def find(name: str) -> Path:
    """The file of a shipped template's name, or of a path to a template. Raises BadInput."""
    if "/" in name or name.endswith(".j2") or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BadInput("no such machine template", where=name)
        return path
    shipped = available()
    if name not in shipped:
        raise BadInput(
            f"no machine template is called {name!r}{_suggest(name, shipped)}",
            hint="use one of " + ", ".join(shipped) + ", or give the path of a template",
        )
    return shipped[name]


def parameters(path: Path) -> list[Parameter]:
    """Declared parameters of a template, in order. Raises BadInput for a template that cannot be read."""
    return _declarations(path, _read(path))


def load_machine(name: str, params: Mapping[str, str] | None = None) -> MachineSpec:
    """Render the template ``name`` (or the template at that path) and load it. Raises BadInput."""
    return parse_machine(render(find(name), params or {}))


def render(path: Path, params: Mapping[str, str]) -> Rendered:
    """Render the template with the user's parameters (text, as typed). Raises BadInput."""
    source = _read(path)
    declared = {item.name: item for item in _declarations(path, source)}
    for given in params:
        if given not in declared:
            lines = [item.line for item in declared.values()]
            near = difflib.get_close_matches(given, declared, 1)
            line = declared[near[0]].line if near else min(lines, default=1)
            raise BadInput(
                f"unknown parameter {given!r}{_suggest(given, declared)}",
                where=f"{path}:{line}",
                hint="parameters here: " + (", ".join(declared) or "none"),
            )
    values = {
        item.name: _convert(path, item, params[item.name]) if item.name in params else item.default
        for item in declared.values()
    }
    try:
        text = _environment(values).from_string(source).render()
    except jinja2.UndefinedError as error:
        line = _template_line(error)
        word = re.match(r"'(\w+)' is undefined", error.message or "")
        near_text = _suggest(word[1], declared) if word else ""
        raise BadInput(f"{error.message}{near_text}", where=f"{path}:{line}") from None
    except (jinja2.TemplateError, *_TEMPLATE_FAILS) as error:
        raise BadInput(
            f"template fails: {error or type(error).__name__}", where=f"{path}:{_template_line(error)}"
        ) from None
    return Rendered(path, source, text)


def parse_machine(rendered: Rendered) -> MachineSpec:
    """Check a rendered template and load it. Raises BadInput with the place of what is wrong."""
    try:
        data = tomllib.loads(rendered.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        lines = rendered.text.splitlines()
        bad = lines[int(found[1]) - 1] if found and int(found[1]) <= len(lines) else ""
        raise BadInput(f"not TOML after rendering: {error}", where=str(rendered.path), detail=bad) from None
    except RecursionError:
        raise BadInput("not TOML after rendering: nested too deeply", where=str(rendered.path)) from None
    return _Loader(rendered).machine(data)


def _toml(value: str | int | Iterable[str]) -> str:
    """A TOML literal: a JSON string, number or array of those is one."""
    return json.dumps(value if isinstance(value, (str, int)) else list(value))


def _words(text: str) -> list[str]:
    return text.split()


def _environment(values: Mapping[str, ParamValue]) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["toml"] = _toml
    environment.filters["words"] = _words
    environment.globals["param"] = lambda name, default, help="", choices="": values[name]
    return environment


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"machine template cannot be read: {error}", where=str(path)) from None


def _declarations(path: Path, source: str) -> list[Parameter]:
    try:
        tree = _environment({}).parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise BadInput(f"template syntax: {error.message}", where=f"{path}:{error.lineno}") from None
    except RecursionError:
        raise BadInput("template syntax: nested too deeply", where=str(path)) from None
    found: dict[str, Parameter] = {}
    for call in tree.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name != "param":
            continue
        place = f"{path}:{call.lineno}"
        args = [arg.value if isinstance(arg, nodes.Const) else None for arg in call.args]
        if len(args) not in (2, 3, 4) or call.kwargs or any(arg is None for arg in args):
            raise BadInput(
                'a parameter is declared as param("name", default, "help", "choices")', where=place
            )
        name = str(args[0])
        if name in found:
            raise BadInput(f"parameter {name!r} is declared twice", where=place)
        help_text = str(args[2]) if len(args) > 2 else ""
        choices = tuple(str(args[3]).split()) if len(args) == 4 else ()
        default = args[1]
        if not isinstance(default, (int, str)):
            raise BadInput(f"default of {name!r} must be text, a number or true/false", where=place)
        found[name] = Parameter(name, default, help_text, call.lineno, choices)
    return list(found.values())


def _convert(path: Path, parameter: Parameter, text: str) -> ParamValue:
    where = f"{path}:{parameter.line}"
    if parameter.choices and text not in parameter.choices:
        allowed = ", ".join(parameter.choices)
        raise BadInput(
            f"{parameter.name}={text!r} is not one of {allowed}{_suggest(text, parameter.choices)}",
            where=where,
        )
    if isinstance(parameter.default, bool):
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"{parameter.name}={text!r} is not true or false", where=where)
        return text.lower() in ("true", "1", "yes")
    if isinstance(parameter.default, int):
        try:
            return int(text, 0)
        except ValueError:
            raise BadInput(f"{parameter.name}={text!r} is not a number", where=where) from None
    if any(ord(char) < 0x20 or char in '"\\' for char in text):
        raise BadInput(
            f"{parameter.name}={text!r} contains a quote, backslash or control character", where=where
        )
    return text


def _template_line(error: BaseException) -> int:
    """Line of the template where rendering failed: Jinja2 puts frames of ``<template>`` in the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _suggest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _place(path: Path, source: str, pattern: str, nth: int) -> str:
    hits = [number for number, line in enumerate(source.splitlines(), 1) if re.match(pattern, line)]
    return f"{path}:{hits[min(nth, len(hits) - 1)]}" if hits else str(path)


class _Loader:
    """Checks one rendered template, key by key."""

    def __init__(self, rendered: Rendered) -> None:
        self.rendered = rendered

    def bad(self, what: str, key: str, nth: int = 0) -> BadInput:
        return BadInput(what, where=self.rendered.place(key, nth))

    def keys(self, data: Mapping[str, Any], known: Mapping[str, Any], nth: int, what: str) -> None:
        for key, value in data.items():
            if key not in known:
                raise self.bad(f"unknown key {key!r} in {what}{_suggest(key, known)}", key, nth)
            if isinstance(value, bool) or not isinstance(value, known[key]):
                raise self.bad(f"{key} = {value!r} has the wrong type", key, nth)

    def choice(self, data: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
        value = str(data.get(key, allowed[0]))
        if value not in allowed:
            raise self.bad(
                f"{key} = {value!r} is not one of {', '.join(allowed)}{_suggest(value, allowed)}", key
            )
        return value

    def size(self, data: Mapping[str, Any], key: str, low: int, high: int, nth: int = 0) -> int:
        try:
            value = parse_size(data[key])
        except ValueError as error:
            raise self.bad(f"{key}: {error}", key, nth) from None
        if not low <= value <= high:
            raise self.bad(f"{key} = {data[key]!r} is not between {_human(low)} and {_human(high)}", key, nth)
        return value

    def words(self, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
        items = data.get(key, [])
        for item in items:
            if not isinstance(item, str) or not item.isprintable() or " " in item or not item:
                raise self.bad(f"{key}: {item!r} is not one printable word", key)
        return tuple(items)

    def machine(self, data: Mapping[str, Any]) -> MachineSpec:
        hypervisor = self.choice(data, "hypervisor", _HYPERVISORS) if "hypervisor" in data else "stand-in"
        if hypervisor == "external":
            return self.external(data)
        if hypervisor == "hyperv":
            return self.hyperv(data)
        self.keys(data, _MACHINE_KEYS, 0, "a machine")
        self.required(data, _REQUIRED)
        cpus, memory = self.size_of_machine(data)
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", data.get("cpu_model", "EPYC")):
            raise self.bad(f"cpu_model = {data['cpu_model']!r} is not a CPU model's name", "cpu_model")
        if hypervisor != "stand-in" and data.get("hypervisor_args"):
            raise self.bad('hypervisor_args need hypervisor = "stand-in"', "hypervisor_args")
        kind: Any = hypervisor
        devices = self.devices(data.get("device", []), _EMULATED)
        iommu = self.choice(data, "iommu", ("none", "intel"))
        return MachineSpec(
            name=self.name(data),
            cpus=cpus,
            memory=memory,
            devices=devices,
            hypervisor=kind,
            tcg_thread=self.tcg_thread(data, cpus, hypervisor),
            kernel_args=self.words(data, "kernel_args"),
            hypervisor_args=self.words(data, "hypervisor_args"),
            cpu_model=data.get("cpu_model", "EPYC"),
            child=self.child(data, memory, devices),
            iommu="intel" if iommu == "intel" else "none",
        )

    def required(self, data: Mapping[str, Any], keys: Iterable[str]) -> None:
        for key in keys:
            if key not in data:
                raise BadInput(f"the machine does not set {key!r}", where=str(self.rendered.path))

    def given(self, data: Mapping[str, Any], key: str, what: str, example: str, parameter: str = "") -> None:
        """A value that nobody but the user knows, so that the template's default for it is empty."""
        if not data.get(key):
            raise BadInput(
                f"the {data.get('name', 'machine')} machine needs {what}",
                where=self.rendered.place(key),
                hint=f"give --param {parameter or key}={example}",
            )

    def name(self, data: Mapping[str, Any]) -> str:
        name = str(data["name"])
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,40}", name):
            raise self.bad(f"name = {name!r}: use small letters, digits, '-', '_', '.'", "name")
        return name

    def size_of_machine(self, data: Mapping[str, Any]) -> tuple[int, int]:
        cpus = int(data["cpus"])
        if not 1 <= cpus <= MAX_CPUS:
            raise self.bad(f"cpus = {cpus} is not between 1 and {MAX_CPUS}", "cpus")
        memory = self.size(data, "memory", MIN_MEMORY, MAX_MEMORY)
        if memory % (1 << 20):
            raise self.bad("memory must be whole MiB", "memory")
        return cpus, memory

    def port(self, data: Mapping[str, Any], key: str) -> int:
        if not 1 <= data[key] <= _LAST_PORT:
            raise self.bad(f"{key} = {data[key]} is not between 1 and {_LAST_PORT}", key)
        return int(data[key])

    def external(self, data: Mapping[str, Any]) -> MachineSpec:
        self.keys(data, _EXTERNAL_KEYS, 0, "an external machine")
        self.required(data, [key for key in _EXTERNAL_KEYS if key != "device"])
        self.given(data, "host", "the host to reach", "HOST")
        for key in ("user", "key", "known_hosts"):
            self.given(data, key, f"a value for {key}", "...")
        if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", data["host"]) or data["host"].startswith("-"):
            raise self.bad(f"host = {data['host']!r} is not a host's name or address", "host")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", data["user"]):
            raise self.bad(f"user = {data['user']!r} is not a user's name", "user")
        return MachineSpec(
            name=self.name(data),
            cpus=0,
            memory=0,
            devices=self.devices(data.get("device", []), ("pci",)),
            hypervisor="external",
            ssh=SshAccess(
                data["host"], self.port(data, "port"), data["user"], data["key"], data["known_hosts"]
            ),
        )

    def hyperv(self, data: Mapping[str, Any]) -> MachineSpec:
        self.keys(data, _HYPERV_KEYS, 0, "a hyperv machine")
        self.required(data, [key for key in _HYPERV_KEYS if key != "device"])
        self.given(data, "disks", "a disk with Microsoft's hypervisor on it", "DISK.qcow2", "disk")
        self.given(data, "vars", "a copy of the firmware's variable store", "OVMF_VARS.fd")
        self.given(data, "firmware", "a UEFI code image", "/usr/share/OVMF/OVMF_CODE_4M.fd")
        cpus, memory = self.size_of_machine(data)
        vendor: Any = self.choice(data, "cpu_vendor", ("amd", "intel"))
        return MachineSpec(
            name=self.name(data),
            cpus=cpus,
            memory=memory,
            devices=self.devices(data.get("device", []), _EMULATED),
            hypervisor="hyperv",
            images=UserImages(
                self.words(data, "disks"),
                data["firmware"],
                data["vars"],
                vendor,
                self.port(data, "ssh_port"),
            ),
        )

    def child(
        self, data: Mapping[str, Any], memory: int, devices: tuple[Device, ...]
    ) -> Literal["payload"] | LinuxChild:
        kind, table = self.choice(data, "child", ("payload", "linux")), data.get("linux_child")
        if kind == "payload":
            if table is not None:
                raise self.bad('[linux_child] needs child = "linux"', "linux_child")
            return "payload"
        if table is None:
            raise self.bad('child = "linux" needs a table [linux_child]', "child")
        self.keys(table, _LINUX_CHILD_KEYS, 0, "[linux_child]")
        for key in ("cpus", "memory"):
            if key not in table:
                raise self.bad(f"[linux_child] does not set {key}", "linux_child")
        if not 1 <= table["cpus"] <= MAX_CHILD_CPUS:
            raise self.bad(
                f"cpus of the child = {table['cpus']} is not between 1 and {MAX_CHILD_CPUS}", "cpus", 1
            )
        if data.get("hypervisor", "stand-in") != "stand-in":
            raise self.bad('child = "linux" needs hypervisor = "stand-in"', "child")
        size = self.size(table, "memory", MIN_CHILD_MEMORY, MAX_MEMORY, 1)
        if size % (1 << 20) or size + ROOT_NEEDS > memory:
            what = f"memory of the child = {table['memory']!r}"
            raise self.bad(f"{what}: whole MiB, and {_human(ROOT_NEEDS)} less than the root's", "memory", 1)
        known = {device.id for device in devices}
        for ident in (wanted := self.words(table, "devices")):
            if ident not in known:
                raise self.bad(f"the child cannot get {ident!r}: no such device", "devices")
        return LinuxChild(table["cpus"], size, wanted, self.words(table, "kernel_args"))

    def tcg_thread(self, data: Mapping[str, Any], cpus: int, hypervisor: str) -> Any:
        if data.get("tcg_thread") == "multi":
            if cpus > 1:
                raise self.bad(f"tcg_thread = 'multi' is refused: {_MULTI_REFUSED}", "tcg_thread")
            return "single"
        thread = self.choice(data, "tcg_thread", ("auto", "single", "parked"))
        if thread == "parked" and hypervisor != "stand-in":
            raise self.bad("tcg_thread = 'parked' needs the stand-in, which parks the CPU", "tcg_thread")
        return thread

    def devices(self, tables: list[Any], kinds: tuple[str, ...]) -> tuple[Device, ...]:
        found: list[Device] = []
        for nth, table in enumerate(tables):
            if not isinstance(table, dict):
                raise self.bad("devices are written as [[device]] tables", "device")
            device = self.device(table, nth, kinds)
            for other in found:
                if _place_of(other) == _place_of(device):
                    what = f"{_place_of(device)} of {device.id!r} is taken by {other.id!r}"
                    raise self.bad(what, "bdf" if isinstance(device, PciDevice) else "slot", nth)
                if other.id == device.id:
                    raise self.bad(f"two devices have the id {device.id!r}", "id", nth)
            found.append(device)
        return tuple(found)

    def device(self, table: Mapping[str, Any], nth: int, kinds: tuple[str, ...]) -> Device:
        kind = str(table.get("kind", ""))
        if kind not in kinds:
            names = f"{', '.join(kinds)}{_suggest(kind, kinds)}"
            raise self.bad(f"device kind {kind!r} is not one of {names}", "kind", nth)
        self.keys(table, _DEVICE_KEYS[kind], nth, f"a device of kind {kind}")
        for key in _DEVICE_KEYS[kind]:
            if key not in table:
                raise self.bad(f"device {nth + 1} ({kind}) does not set {key!r}", "device", nth)
        ident = table["id"]
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", ident):
            raise self.bad(f"id = {ident!r}: use letters, digits, '-', '_'", "id", nth)
        if kind == "pci":
            if not _BDF.fullmatch(table["bdf"]):
                what = f"{table['bdf']!r} is not a PCI address in full, such as 0000:3b:00.0"
                raise self.bad(what, "bdf", nth)
            if not 0 <= table["bar"] <= _LAST_BAR:
                raise self.bad(f"BAR {table['bar']} is not between 0 and {_LAST_BAR}", "bar", nth)
            return PciDevice(ident, table["bdf"], table["bar"])
        slot = table["slot"]
        if not FIRST_SLOT <= slot <= LAST_SLOT:
            raise self.bad(f"slot = {slot} is not between {FIRST_SLOT} and {LAST_SLOT}", "slot", nth)
        if kind == "edu":
            return EduDevice(ident, slot)
        size = self.size(table, "size", PAGE_SIZE, MAX_BAR, nth)
        if size & (size - 1):
            raise self.bad(f"size = {table['size']!r} is not a power of two (a BAR must be one)", "size", nth)
        return IvshmemDevice(ident, slot, size)


def _place_of(device: Device) -> str:
    return device.bdf if isinstance(device, PciDevice) else f"slot {device.slot}"


def _human(size: int) -> str:
    for unit in ("G", "M", "K"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
