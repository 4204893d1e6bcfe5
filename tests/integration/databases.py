"""The databases that tests of the transcripts run on: PostgreSQL's fixtures, and both in turn."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

POSTGRES = {"type": "sql_postgres", "host": "127.0.0.1", "port": 5432, "db": "test", "user": "root"}
POSTGRES_URL = "postgresql+asyncpg://root@127.0.0.1:5432/test"


@pytest.fixture(scope="session")
def postgres() -> dict[str, Any]:
    """A PostgreSQL that answers, started where it is installed."""

    def answers() -> bool:
        command = ["psql", "-h", "127.0.0.1", "-U", "root", "-d", "test", "-Atc", "select 1"]
        return shutil.which("psql") is not None and (
            subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
        )

    if not answers() and shutil.which("pg_lsclusters") and shutil.which("pg_ctlcluster"):
        listing = subprocess.run(
            ["pg_lsclusters", "-h"], capture_output=True, text=True, check=False
        ).stdout
        for version, name, *_ in (line.split() for line in listing.splitlines()):
            subprocess.run(
                ["pg_ctlcluster", version, name, "start"], check=False, capture_output=True
            )
        time.sleep(1)
    if not answers():
        pytest.skip("no PostgreSQL on 127.0.0.1:5432 that lets root into the database test")
    return POSTGRES


def psql(statement: str) -> str:
    command = ["psql", "-h", "127.0.0.1", "-U", "root", "-d", "test", "-qAtc", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def table(postgres: dict[str, Any]) -> Iterator[str]:
    """A name for tables on PostgreSQL; all that begin with it are dropped."""
    name = f"turns_{uuid4().hex}"
    yield name
    drop_tables(name)


def drop_tables(name: str) -> None:
    listing = f"SELECT tablename FROM pg_tables WHERE starts_with(tablename, '{name}')"  # noqa: S608
    found = psql(listing).split()
    if found:
        psql(f"DROP TABLE {', '.join(found)}")


class Place:
    """A database with a name for tables, and raw access to what is in them."""

    def __init__(self, url: str, name: str, file: Path | None) -> None:
        self.url, self.name, self.file = url, name, file

    @property
    def create_engine(self) -> Callable[[], AsyncEngine]:
        return lambda: create_async_engine(self.url, pool_pre_ping=True)

    async def run(self, *statements: str) -> list[Any]:
        """Run statements in one transaction; the rows of the last one."""
        engine = self.create_engine()
        rows: list[Any] = []
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.exec_driver_sql(statement)
                rows = list(result.all()) if result.returns_rows else []
        await engine.dispose()
        return rows


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each database in turn."""
    if request.param == "postgres":
        return Place(POSTGRES_URL, request.getfixturevalue("table"), None)
    file = tmp_path / "turns.db"
    return Place(f"sqlite+aiosqlite:///{file}", "turns", file)
