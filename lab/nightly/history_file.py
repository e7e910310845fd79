# SPDX-License-Identifier: GPL-2.0-or-later
"""The SQLite file of the history: begun whole or not at all, brought up to date, never overwritten.

``application_id`` says that it is ours, ``user_version`` how many of the MIGRATIONS it has seen. Readers and
one writer work at the same time (WAL); a second writer waits for the first, for a bounded time.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from lab.model.errors import BadInput, LabError, LabUnavailable

APPLICATION = 0x6876_6C62
"""``hvlb``."""
PATIENCE = 30.0
"""Seconds that a writer waits for another one, which needs milliseconds."""
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            started TEXT NOT NULL,
            finished TEXT NOT NULL,
            wall REAL NOT NULL,
            cpu REAL NOT NULL,
            lab TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE versions (
            id INTEGER PRIMARY KEY,
            run INTEGER NOT NULL REFERENCES runs (id),
            topic TEXT NOT NULL,
            version INTEGER NOT NULL,
            key TEXT NOT NULL,
            title TEXT NOT NULL,
            verdict TEXT NOT NULL,
            judged INTEGER NOT NULL,
            time TEXT NOT NULL,
            UNIQUE (topic, version, key, time)
        ) STRICT""",
        """CREATE TABLE variants (
            id INTEGER PRIMARY KEY,
            version INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            verdict TEXT NOT NULL,
            failed_phase TEXT NOT NULL,
            culprit INTEGER NOT NULL,
            lost TEXT NOT NULL,
            host TEXT NOT NULL,
            wall REAL NOT NULL,
            cpu REAL NOT NULL,
            UNIQUE (version, name)
        ) STRICT""",
        """CREATE TABLE scenarios (
            variant INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            base TEXT NOT NULL,
            patched TEXT NOT NULL,
            counts TEXT NOT NULL,
            culprit INTEGER NOT NULL,
            quarantined TEXT NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (name, variant)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE timings (
            variant INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            phase TEXT NOT NULL,
            side TEXT NOT NULL,
            wall REAL NOT NULL,
            cpu REAL NOT NULL
        ) STRICT""",
        """CREATE TABLE splats (
            name TEXT NOT NULL,
            variant INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            scenario TEXT NOT NULL,
            PRIMARY KEY (name, variant, scenario)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX versions_of_run ON versions (run)",
        "CREATE INDEX timings_of_variant ON timings (variant)",
    ),
)
"""Statements that lead from one version of the schema to the next. What is here is never changed again, a
change is a new entry: files of every version are out there."""
_NOT_OURS = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
_HINT = "move the file away: a new history is begun, this one is not touched"


@contextmanager
def opened(path: Path, *, create: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection to the history at ``path``, which is begun if there is none and ``create``.

    BadInput for a file that is no history, is damaged, or comes from a newer lab; LabUnavailable where it
    cannot be read or written.
    """
    try:
        connection = _open(path, create)
    except (sqlite3.Error, OSError) as e:
        raise _in_words(path, e) from e
    with closing(connection):
        try:
            yield connection
        except sqlite3.Error as e:
            raise _in_words(path, e) from e


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction of the only writer: all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _open(path: Path, create: bool) -> sqlite3.Connection:
    if not os.path.lexists(path):
        if not create:
            raise BadInput("there is no history here", where=str(path), hint="run hvlab nightly first")
        _begin(path)
    _refuse_foreign(path)
    connection = _connect(path)
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
        if said != ["ok"]:
            raise BadInput("the history is damaged", where=str(path), hint=_HINT, detail="\n".join(said))
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _begin(path: Path) -> None:
    """Put an empty history at ``path``, complete from its first moment on; another's is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with closing(_connect(temp)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            _migrate(connection, temp)
            connection.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):
            os.link(temp, path)
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            temp.with_name(temp.name + end).unlink(missing_ok=True)


def _refuse_foreign(path: Path) -> None:
    """BadInput unless the file's header says that it is ours. Nothing but the file itself is opened: SQLite
    would clean up beside a stranger's database."""
    if not path.is_file():
        raise BadInput("this is no history: not a file", where=str(path), hint="name a file, or a new name")
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
        raise BadInput("this is no history: not an SQLite database", where=str(path), hint=_HINT)
    if int.from_bytes(header[68:72], "big") != APPLICATION:
        raise BadInput("this is no history: the database of another program", where=str(path), hint=_HINT)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    with writing(connection):
        version = _version(connection)
        if version > len(MIGRATIONS):
            raise BadInput(
                f"this history has schema {version}, this lab knows {len(MIGRATIONS)}",
                where=str(path),
                hint="use the lab that wrote it, or a newer one",
            )
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _in_words(path: Path, e: sqlite3.Error | OSError) -> LabError:
    """An error of SQLite or of the file system in the lab's words."""
    if isinstance(e, OSError):
        return LabUnavailable(f"the history cannot be used: {e.strerror or e}", where=str(path))
    code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        what = f"another process has been writing the history for {PATIENCE:.0f} s"
        return LabUnavailable(what, where=str(path), hint="end it, or try again")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return BadInput(f"the report does not fit the history: {e}", where=str(path))
    if code in _NOT_OURS:
        return BadInput(f"the history is damaged: {e}", where=str(path), hint=_HINT)
    return LabUnavailable(f"the history cannot be used: {e}", where=str(path))
