# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of ``lab.model.nightly`` as JSON files, and back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.preconf.json import make_converter

from lab import whole
from lab.model.errors import BadInput

T = TypeVar("T")
SCHEMA = 1


def _converter() -> Any:
    converter = make_converter(forbid_extra_keys=True)
    # A mail may hold bytes of any charset; JSON holds text.
    converter.register_unstructure_hook(bytes, lambda b: base64.b64encode(b).decode("ascii"))
    converter.register_structure_hook(bytes, lambda text, _: base64.b64decode(text, validate=True))
    return converter


_CONVERTER = _converter()


def dumps(record: Any) -> str:
    """JSON text of a record, with a final line break."""
    return json.dumps({"schema": SCHEMA, "value": _CONVERTER.unstructure(record)}, indent=1) + "\n"


def loads(text: str | bytes, kind: type[T], where: str) -> T:
    """The record that :func:`dumps` wrote. BadInput for anything else, naming ``where``."""
    try:
        values = json.loads(text)
        if values["schema"] != SCHEMA:
            raise ValueError(f"schema {values['schema']!r} is not {SCHEMA}")
        record: T = _CONVERTER.structure(values["value"], kind)
    except cattrs.BaseValidationError as e:
        lines = cattrs.transform_error(e)
        raise BadInput(f"not a {kind.__name__}: {lines[0]}", where=where, detail="\n".join(lines)) from e
    except (ValueError, KeyError, TypeError) as e:
        raise BadInput(f"not a {kind.__name__}: {e}", where=where) from e
    return record


def save(path: Path, record: Any) -> None:
    """Write a record so that a reader finds it whole or not at all."""
    whole.write(path, dumps(record))


def load(path: Path, kind: type[T]) -> T:
    """Read a record. BadInput when the file is none or cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as e:
        raise BadInput(f"cannot read: {e.strerror}", where=str(path)) from e
    return loads(text, kind, str(path))
