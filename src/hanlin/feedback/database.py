"""Opening the database: SQLite by default, PostgreSQL by URL; its tables as this version wants them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.base.errors import CheckpointError, ConfigError, MissingExtra, NewerFormatError
from hanlin.base.language import Text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MIGRATIONS = Path(__file__).with_name("migrations")

BUSY = 10.0
"""Seconds that a write waits for another one of the same SQLite file."""


def open_database(url: str) -> "Engine":
    """The engine for `sqlite:///FILE` or `postgresql://...`; nothing is read yet but the address.

    Raises `ConfigError` for another kind of address, `MissingExtra` without the packages.
    """
    try:
        from sqlalchemy import create_engine, event
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise MissingExtra(Text("The store of feedback", "反馈库"), "serve") from error
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise _wrong_address(url) from error
    if address.drivername in ("postgres", "postgresql"):
        address = address.set(drivername="postgresql+psycopg")
    if address.drivername == "postgresql+psycopg":
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise MissingExtra(Text("PostgreSQL", "PostgreSQL"), "postgres") from error
        # A connection that went stale while the database was away is found out before it is used.
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 5})
    if address.drivername != "sqlite" or not address.database:
        raise _wrong_address(url)
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(address, connect_args={"timeout": BUSY})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers beside a writer; what is acknowledged is on the disk, also after a power cut; rows go with their parents."""
    connection.isolation_level = None  # the driver begins no transactions of its own: we do
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: "Connection") -> None:
    """A writer takes its turn at once: one that began as a reader could be refused in the middle."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: "Engine") -> Iterator["Connection"]:
    """A connection whose changes are kept together, or not at all."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def migrate(engine: "Engine") -> None:
    """Bring the tables to this version, all steps or none.

    Raises `NewerFormatError` for a store that a newer Hanlin made, `CheckpointError` for one that cannot be read.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy.exc import DatabaseError, OperationalError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    try:
        with writing(engine) as connection:
            _one_at_a_time(connection)
            found = MigrationContext.configure(connection).get_current_revision()
            if found is not None and found not in known:
                raise _newer(engine, found)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError:
        raise  # away or busy: the caller may try again
    except DatabaseError as error:
        raise _damaged(engine, str(error.orig)) from error


def _one_at_a_time(connection: "Connection") -> None:
    """Two servers that start together do not both make the tables; a writer of SQLite is alone as it is."""
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20170612)"))


def _wrong_address(url: str) -> ConfigError:
    return ConfigError(
        Text(f"{url!r} is no address of a store.", f"{url!r} 不是反馈库的地址。"),
        Text("Use sqlite:///path/to/file.sqlite or postgresql://user:password@host/database.",
             "请使用 sqlite:///文件路径.sqlite 或 postgresql://用户:密码@主机/数据库。"),
    )  # fmt: skip


def _newer(engine: "Engine", version: str) -> NewerFormatError:
    where = engine.url.render_as_string(hide_password=True)
    return NewerFormatError(
        Text(f"{where}: a newer Hanlin made this store (version {version}).",
             f"{where}：该反馈库由更新版本的 Hanlin 建立（版本 {version}）。"),
        Text("Update Hanlin, or name another store.", "请升级 Hanlin，或指定其他反馈库。"),
    )  # fmt: skip


def _damaged(engine: "Engine", reason: str) -> CheckpointError:
    where = engine.url.render_as_string(hide_password=True)
    return CheckpointError(
        Text(f"{where} cannot be read: {reason}", f"{where} 无法读取：{reason}"),
        Text("Restore it from a copy, or name another store.", "请从备份恢复，或指定其他反馈库。"),
    )
