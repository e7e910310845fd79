# SPDX-License-Identifier: GPL-2.0-or-later
"""A revision, or the working tree with its changes, out of somebody's git repository.

The repository is only read: a tree object for changes that are not committed goes into an object
folder of ours that borrows from the repository's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.model.errors import BadInput
from lab.source.command import Done, run, tool_env

_BUDGET = 600.0


@dataclass(frozen=True, slots=True)
class GitTree:
    """A tree object in ``repo``. ``commit`` ends in ``+changes`` for a working tree that differs."""

    repo: Path
    commit: str
    tree: str
    changed: int
    objects: Path | None


def split_spec(text: str) -> tuple[Path, str | None]:
    """``DIR[@REV]`` to its parts. A folder whose name holds an ``@`` wins over a revision."""
    if Path(text).is_dir() or "@" not in text:
        return Path(text), None
    place, _, rev = text.rpartition("@")
    return Path(place), rev


@contextmanager
def open_tree(spec: str) -> Iterator[GitTree]:
    """The tree that ``DIR[@REV]`` names; BadInput when there is no such repository or revision."""
    place, rev = split_spec(spec)
    top = _git(place, "rev-parse", "--show-toplevel", check=False) if place.is_dir() else None
    if top is None or top.code != 0:
        raise BadInput(
            "not a git working tree",
            where=str(place),
            hint="give a kernel git repository, or a tarball with --base FILE.tar.xz",
            detail=top.err.strip() if top else "",
        )
    repo = Path(top.out.strip())
    commit = resolve_commit(repo, rev or "HEAD")
    if rev is not None:
        tree = _git(repo, "rev-parse", f"{commit}^{{tree}}").out.strip()
        yield GitTree(repo, commit, tree, 0, None)
        return
    with TemporaryDirectory(prefix="hvlab-git-") as temp:
        yield _working_tree(repo, commit, Path(temp))


def resolve_commit(repo: Path, rev: str) -> str:
    """Full commit id of ``rev``; BadInput if the repository does not know it."""
    done = _git(repo, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}", check=False)
    if done.code != 0:
        raise BadInput(f"no commit {rev!r}", where=str(repo), detail=done.err.strip())
    return done.out.strip()


def export(found: GitTree, into: Path) -> None:
    """Write the files of a tree below ``into``."""
    into.mkdir(parents=True)
    with TemporaryDirectory(prefix="hvlab-git-") as temp:
        env = _env(found.repo, index=Path(temp) / "index", objects=found.objects)
        _git(found.repo, "read-tree", found.tree, env=env)
        _git(found.repo, "checkout-index", "--all", f"--prefix={into}/", env=env)


def objects_dir(repo: Path) -> Path:
    """Where a repository keeps its objects (shared ones of a linked worktree included)."""
    place = Path(_git(repo, "rev-parse", "--git-path", "objects").out.strip())
    return place if place.is_absolute() else repo / place


def _working_tree(repo: Path, commit: str, temp: Path) -> GitTree:
    index = Path(_git(repo, "rev-parse", "--git-path", "index").out.strip())
    index = index if index.is_absolute() else repo / index
    if index.exists():
        shutil.copy2(index, temp / "index")
    (temp / "objects").mkdir()
    env = _env(repo, index=temp / "index", objects=temp / "objects")
    _git(repo, "add", "--all", ".", env=env)
    tree = _git(repo, "write-tree", env=env).out.strip()
    names = _git(repo, "diff-tree", "-r", "--name-only", f"{commit}^{{tree}}", tree, env=env).out.split("\n")
    changed = sum(1 for n in names if n)
    return GitTree(repo, commit + ("+changes" if changed else ""), tree, changed, temp / "objects")


def _env(repo: Path, index: Path, objects: Path | None) -> dict[str, str]:
    env = {"GIT_INDEX_FILE": str(index)}
    if objects is not None:
        env["GIT_OBJECT_DIRECTORY"] = str(objects)
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(objects_dir(repo))
    return tool_env(env)


def _git(repo: Path, *args: str, env: dict[str, str] | None = None, check: bool = True) -> Done:
    return run(["git", "-C", repo, *args], what=f"git {args[0]}", timeout=_BUDGET, env=env, check=check)
