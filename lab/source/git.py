# SPDX-License-Identifier: GPL-2.0-or-later
"""A revision, or the working tree with its changes, out of somebody's git repository.

The repository is only read, and nothing that its owner configured there is run (filters, hooks,
file system monitor): apart from looking up names, all work is done in a repository of ours that
borrows its objects. A tree object for changes that are not committed goes there too.
"""

from __future__ import annotations

import os
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
    """A tree object of ``repo``, known to the repository ``own`` as long as open_tree's context lasts.
    ``commit`` ends in ``+changes`` for a working tree that differs."""

    repo: Path
    commit: str
    tree: str
    changed: int
    own: Path


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
    with borrowed(repo) as own:
        if rev is not None:
            tree = _run(own, "rev-parse", f"{commit}^{{tree}}").out.strip()
            yield GitTree(repo, commit, tree, 0, own)
        else:
            yield _working_tree(repo, commit, own)


@contextmanager
def borrowed(repo: Path) -> Iterator[Path]:
    """An empty repository of ours (its ``.git``) that has all objects of ``repo`` and none of its
    settings, hooks, filters or references."""
    form = _git(repo, "rev-parse", "--show-object-format").out.strip()
    with TemporaryDirectory(prefix="hvlab-git-") as temp:
        argv = ["git", "init", "--quiet", "--template=", f"--object-format={form}", temp]
        run(argv, what="git init", timeout=_BUDGET, env=_own_env())
        own = Path(temp, ".git")
        (own / "objects" / "info").mkdir(exist_ok=True)
        (own / "objects" / "info" / "alternates").write_text(f"{objects_dir(repo)}\n")
        shallow = _git_path(repo, "shallow")
        if shallow.is_file():
            shutil.copy(shallow, own / "shallow")
        yield own


def own_env(own: Path, work_tree: Path | None = None) -> dict[str, str]:
    """Environment for running git in a borrowed() repository; ``work_tree``: on that folder's files."""
    extra = {"GIT_DIR": str(own)}
    return _own_env(extra | {"GIT_WORK_TREE": str(work_tree)} if work_tree is not None else extra)


def resolve_commit(repo: Path, rev: str) -> str:
    """Full commit id of ``rev``; BadInput if the repository does not know it."""
    done = _git(repo, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}", check=False)
    if done.code != 0:
        raise BadInput(f"no commit {rev!r}", where=str(repo), detail=done.err.strip())
    return done.out.strip()


def tags(repo: Path, count: int) -> list[tuple[str, str, int]]:
    """(name, commit, Unix time) of the newest tags, at most ``count``."""
    form = "%(refname:short) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
    listed = _git(
        repo,
        *("for-each-ref", "--sort=-creatordate", f"--count={count}"),
        f"--format={form} %(creatordate:unix)",
        "refs/tags",
    )
    rows = [line.split(" ") for line in listed.out.splitlines()]
    return [(row[0], row[1], int(row[2])) for row in rows if len(row) == 3 and row[2].isdecimal()]


def export(found: GitTree, into: Path) -> None:
    """Write the files of a tree below ``into``."""
    into.mkdir(parents=True)
    (found.own / "index").unlink(missing_ok=True)
    _run(found.own, "read-tree", found.tree)
    # The folder is a work tree only for git to find the tree's own attributes (line ends).
    _run(found.own, "checkout-index", "--all", f"--prefix={into}/", work_tree=into)


def objects_dir(repo: Path) -> Path:
    """Where a repository keeps its objects (shared ones of a linked worktree included)."""
    return _git_path(repo, "objects").resolve()


def _working_tree(repo: Path, commit: str, own: Path) -> GitTree:
    index = _git_path(repo, "index")
    if index.exists():
        # With the file times that it knows, so that git reads changed files only.
        for path in (index, *index.parent.glob("sharedindex.*")):
            shutil.copy2(path, own / path.name)
    if "160000 " in _run(own, "ls-files", "--stage").out:
        raise BadInput("the git tree has submodules", where=str(repo), hint="the lab does not take that")
    (own / "info").mkdir(exist_ok=True)
    (own / "info" / "exclude").write_text(_excluded(repo))
    _run(own, "add", "--all", ".", work_tree=repo)
    tree = _run(own, "write-tree").out.strip()
    names = _run(own, "diff-tree", "-r", "--name-only", f"{commit}^{{tree}}", tree).out.split("\n")
    changed = sum(1 for n in names if n)
    return GitTree(repo, commit + ("+changes" if changed else ""), tree, changed, own)


def _excluded(repo: Path) -> str:
    """What the repository and the user ignore besides the tree's own ``.gitignore`` files."""
    asked = _git(repo, "config", "--global", "--type=path", "--get", "core.excludesFile", check=False)
    ours = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "git" / "ignore"
    files = (_git_path(repo, "info/exclude"), Path(asked.out.strip()) if asked.out.strip() else ours)
    return "".join(f.read_text(errors="replace") + "\n" for f in files if f.is_file())


def _git_path(repo: Path, name: str) -> Path:
    place = Path(_git(repo, "rev-parse", "--git-path", name).out.strip())
    return place if place.is_absolute() else repo / place


def _own_env(extra: dict[str, str] | None = None) -> dict[str, str]:
    return tool_env({"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **(extra or {})})


def _run(own: Path, *args: str, work_tree: Path | None = None) -> Done:
    """Run git in our repository; with ``work_tree`` on that folder's files."""
    return run(
        ["git", *args],
        what=f"git {args[0]}",
        timeout=_BUDGET,
        cwd=work_tree or own,
        env=own_env(own, work_tree),
    )


def _git(repo: Path, *args: str, check: bool = True) -> Done:
    """Look something up in somebody's repository: only what runs nothing that it configures. A
    partial clone must not fetch either: its remote may name a command."""
    env = tool_env({"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"})
    return run(["git", "-C", repo, *args], what=f"git {args[0]}", timeout=_BUDGET, env=env, check=check)
