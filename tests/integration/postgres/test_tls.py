"""A server that only takes TLS: backed up, received from, and told apart from one that merely has its address."""

from __future__ import annotations

import datetime
import ipaddress
import socket

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import pq
from tests.integration.backup_restore.stack import StackDirectory, kill, wait_until
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.wire import is_readable

_HBA = "local all all trust\nhostssl all all 127.0.0.1/32 trust\nhostssl replication all 127.0.0.1/32 trust\n"


def make_certificate(directory, name):
    """Make a self-signed certificate for 127.0.0.1; return the paths of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    for path, content in zip(paths, (certificate.public_bytes(serialization.Encoding.PEM), private), strict=True):
        path.write_bytes(content)
        path.chmod(0o600 if path.suffix == ".key" else 0o644)
        account().take_over(path)
    return paths


@pytest.fixture
def server(shared_directory):
    """A server on 127.0.0.1, which nobody reaches without TLS; (connection string without the root, directory)."""
    certificate, key = make_certificate(shared_directory, "server")
    hba = shared_directory / "pg_hba.conf"
    hba.write_text(_HBA)
    account().take_over(hba)
    binaries = postgres_binaries(15)
    create_cluster(binaries, shared_directory / "data", ClusterOptions(settings={"wal_level": "replica"}), account())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "hba_file": str(hba),
        "ssl": "on",
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(key),
    }
    with LocalCluster(binaries, shared_directory / "data", settings=settings):
        yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"


def test_it_is_backed_up_and_received_from_over_tls_alone(server, shared_directory, tmp_path):
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(f"{server} sslmode=disable")
    connection = f"{server} sslmode=verify-full sslrootcert={shared_directory / 'server.crt'}"
    stack = StackDirectory(tmp_path, {"db": connection}, service={"wal": {"spool": str(shared_directory / "spool")}})
    stack.succeed("init")
    stack.backup()
    receiver = stack.start("wal", "receive", "db", "--create-slot")
    try:
        with psycopg.connect(connection, autocommit=True) as session:
            query = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) WHERE ssl"
            wait_until(lambda: session.execute(query).fetchone()[0] == 1)
            session.execute("CREATE TABLE item AS SELECT 1 AS id")
            name = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()[0]
        wait_until(lambda: list((stack.place / "wal").rglob(name)))
    finally:
        kill(receiver)


def test_its_files_come_over_tls_as_they_are_read_from_its_disk(server, shared_directory, tmp_path):
    """libpq decrypts them: they do not come the way that they take without TLS."""
    connection = f"{server} sslmode=verify-full sslrootcert={shared_directory / 'server.crt'}"
    stack = StackDirectory(tmp_path, {"db": connection})
    stack.succeed("init")
    stack.backup()
    stack.service["method"] = "replication"
    stack.write()
    stats = stack.backup()["stats"]
    assert (stats["files_read"] > 900, stats["bytes_read"] > 20 << 20) == (True, True)
    assert stats["stored_bytes"] < 200_000
    stack.check()


def test_a_server_with_another_certificate_is_refused_in_one_line(server, shared_directory, tmp_path):
    make_certificate(shared_directory, "stranger")
    connection = f"{server} sslmode=verify-full sslrootcert={shared_directory / 'stranger.crt'}"
    stack = StackDirectory(tmp_path, {"db": connection})
    stack.succeed("init")
    run = stack.run("backup", "db")
    assert (run.code, run.error["error"]) == (1, "ServerUnreachableError"), str(run)
    assert "certificate verify failed" in run.error["message"]


class Untold:
    """A connection of libpq that does not say that it is encrypted, as with GSSAPI."""

    ssl_in_use = False

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)


def test_encryption_shows_on_the_wire(server):
    """What is encrypted must not be taken from the socket, even where libpq has no word for it."""
    connection = pq.PGconn.connect(f"{server} sslmode=require".encode())
    assert connection.ssl_in_use
    assert not is_readable(Untold(connection))
    assert connection.exec_(b"SELECT 1").status == pq.ExecStatus.TUPLES_OK
    connection.finish()
