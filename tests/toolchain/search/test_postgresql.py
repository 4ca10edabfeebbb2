"""A search that keeps its study in PostgreSQL; the server is a real one, started here."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_study import CLASSES, essence, run, settings_of

from export.system.errors import DataError, UsageError
from toolchain.search.executors import InlineExecutor
from toolchain.search.launch import check_free
from toolchain.search.run import Run
from toolchain.search.storage import read_study
from toolchain.search.study import Search
from toolchain.search.trial import Evaluation
from toolchain.settings.base import Record

psycopg = pytest.importorskip("psycopg", reason="needs the package psycopg")

PASSWORD = "moth.er:2/3"
QUOTED = "moth.er%3A2%2F3"


def binaries():
    """Return the folder of initdb and pg_ctl; distributions keep them off the path."""
    found = shutil.which("initdb") or max(
        Path("/").glob("usr/lib/postgresql/*/bin/initdb"), default=None
    )
    return found and Path(found).parent


@dataclass
class Server:
    """A PostgreSQL server of its own in a folder of its own."""

    folder: Path
    port: int
    user: str | None

    def call(self, program, *arguments):
        """Run a program of PostgreSQL's, which refuses to be run by root."""
        command = [binaries() / program, "-D", self.folder / "data", *arguments]
        subprocess.run(
            command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL
        )

    def make(self):
        (self.folder / "password").write_text(PASSWORD)
        shutil.chown(self.folder, self.user or os.getuid())
        self.call(
            "initdb",
            "--username=nastool",
            "--auth=scram-sha-256",
            "--no-sync",
            f"--pwfile={self.folder / 'password'}",
        )

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.call("pg_ctl", "start", "-w", "-s", "-l", self.folder / "log", "-o", options)

    def stop(self):
        self.call("pg_ctl", "stop", "-w", "-s", "-m", "fast")

    def url(self, database, password=QUOTED, port=None):
        return f"postgresql+psycopg://nastool:{password}@127.0.0.1:{port or self.port}/{database}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server():
    if not binaries():
        pytest.skip("needs a PostgreSQL server: no initdb on the path or in /usr/lib/postgresql")
    user = None
    if os.getuid() == 0:
        user = next(p.pw_name for p in pwd.getpwall() if p.pw_name in ("postgres", "nobody"))
    # Not pytest's folder: another user must enter it, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="nastool-") as folder:
        server = Server(Path(folder), free_port(), user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(server):
    """Make an empty database; return its URL."""
    name = f"search_{uuid.uuid4().hex}"
    with psycopg.connect(server.url("postgres").replace("+psycopg", ""), autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.mark.parametrize("algorithm", ["ppo", "nsga2"])
def test_a_resumed_search_is_the_one_on_sqlite(tmp_path, database, algorithm):
    expected = run(tmp_path / "sqlite", trials=20, algorithm=algorithm)
    path = tmp_path / "postgresql"
    run(path, trials=9, algorithm=algorithm, storage=database)
    trials = run(path, trials=20, algorithm=algorithm, storage=database)
    assert essence(trials) == essence(expected)
    loaded = Run.load(path)
    assert loaded.trials == trials
    assert loaded.settings.storage == database
    assert not (path / "study.db").exists()


def test_a_server_that_was_restarted_is_found_again(tmp_path, server, database):
    path = tmp_path / "run"
    path.mkdir()
    chosen = settings_of(storage=database)
    Record(path, chosen).write()
    restarts = []

    def evaluate(candidate):
        if candidate.number == 5:
            server.stop()
            server.start()
            restarts.append(candidate)
        return Evaluation(candidate.number / 100)

    trials = Search(chosen, path, CLASSES).run(InlineExecutor(evaluate))
    assert len(restarts) == 1
    assert Run.load(path).trials == trials


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "secret"}, "password authentication failed"),
        ({"password": "secret", "port": 1}, "refused"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line_without_the_password(server, changes, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read_study(server.url(**({"database": "postgres"} | changes)))
    message = str(caught.value)
    assert "postgresql+psycopg://nastool:***@127.0.0.1:" in message
    assert "\n" not in message
    assert "secret" not in message
    assert QUOTED not in message


def test_a_database_is_not_given_to_two_runs(tmp_path, database):
    run(tmp_path / "first", trials=1, storage=database)
    with pytest.raises(UsageError, match="holds another run's search; give each run its own") as e:
        check_free(settings_of(storage=database), tmp_path / "second", resume=False)
    assert QUOTED not in str(e.value)


def test_the_password_may_change_and_the_database_may_not(tmp_path, database):
    Record(tmp_path, settings_of(storage=database)).write()
    changed = database.replace(QUOTED, "other")
    with pytest.raises(DataError, match="password authentication failed"):
        check_free(settings_of(storage=changed), tmp_path, resume=True)
    with pytest.raises(DataError, match=r"--storage was .*now it is None") as caught:
        check_free(settings_of(), tmp_path, resume=True)
    assert "other" not in str(caught.value).replace("another", "")


def test_a_search_that_has_not_begun(tmp_path, database):
    Record(tmp_path, settings_of(storage=database)).write()
    with pytest.raises(DataError, match="is gone or empty"):
        Run.load(tmp_path)
