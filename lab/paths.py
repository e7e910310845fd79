# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: the checkout's own folders, the user's cache and state, shared memory."""

from __future__ import annotations

import os
from pathlib import Path

from lab.model.errors import LabUnavailable

_ROOT = Path(__file__).resolve().parent.parent


def repo_root() -> Path:
    """The checkout that this package runs from.

    Raises LabUnavailable when the package was installed without its images, templates and tests.
    """
    if not (_ROOT / "images").is_dir() or not (_ROOT / "templates").is_dir():
        raise LabUnavailable(
            "the lab's images and templates are missing",
            where=str(_ROOT),
            hint="run from a checkout (ci/hvlab does), the package alone is not enough",
        )
    return _ROOT


def images_dir() -> Path:
    """C sources, init script and kernel fragments: what runs inside."""
    return repo_root() / "images"


def templates_dir() -> Path:
    """Jinja2 templates: machines and reports."""
    return repo_root() / "templates"


def tests_dir() -> Path:
    """Scenarios, our own series, mutants and golden logs."""
    return repo_root() / "tests"


def _xdg(own: str, xdg: str, fallback: str) -> Path:
    if value := os.environ.get(own):
        return Path(value)
    base = os.environ.get(xdg)
    return (Path(base) if base else Path.home() / fallback) / "hvlab"


def cache_root() -> Path:
    """``$HVLAB_CACHE``, else hvlab's folder in the user's cache folder. Not created here."""
    return _xdg("HVLAB_CACHE", "XDG_CACHE_HOME", ".cache")


def state_root() -> Path:
    """``$HVLAB_STATE``, else hvlab's folder in the user's state folder. Not created here."""
    return _xdg("HVLAB_STATE", "XDG_STATE_HOME", ".local/state")


def shm_dir() -> Path | None:
    """Memory-backed folder for the guests' RAM files, if this machine has a writable one."""
    shm = Path(os.environ.get("HVLAB_SHM", "/dev/shm"))
    return shm if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK) else None
