"""Backup and restore with a repository in S3 on loopback, beside a plain parallel copy of the same packs."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from tests.servers.versitygw import VersityGateway

from benchmarks.measure import in_turn, run_once
from benchmarks.peers import Holdfast, HoldfastSetup, tree_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

# What any client must do at least: move the very same objects with obstore, four at a time.
_COPY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import obstore
from obstore.store import S3Store
direction, endpoint, key, secret, bucket, directory = sys.argv[1:]
store = S3Store(bucket, endpoint=endpoint, access_key_id=key, secret_access_key=secret, region="us-east-1",
                virtual_hosted_style_request=False, client_options={"allow_http": True})
paths = [path for path in Path(directory).rglob("*") if path.is_file()]
def move(path):
    name = str(path.relative_to(directory))
    if direction == "put":
        obstore.put(store, "plain/" + name, path.read_bytes(), use_multipart=False)
    else:
        assert len(obstore.get(store, "plain/" + name).bytes()) == path.stat().st_size
with ThreadPoolExecutor(4) as pool:
    list(pool.map(move, paths))
"""


def measure_object_store(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure backup and restore through S3; print them beside the plain copy."""
    place = directory / "s3"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with VersityGateway(place) as gateway:
        bucket = gateway.make_bucket("bench")
        secret = directory / "s3-secret"
        secret.write_text(gateway.secret_key)
        secret.chmod(0o600)
        options = (
            f"    s3: {{endpoint: '{gateway.endpoint}', region: {gateway.region}, path_style: true, allow_http: true, "
            f"access_key_id: {gateway.access_key}, secret_access_key: {{file: {secret}}}}}\n"
        )
        ours = Holdfast(directory / "holdfast-s3", cluster, HoldfastSetup("s3", f"s3://{bucket}/repo", options))
        objects = gateway.bucket_directory(bucket) / "repo"
        target, local = directory / "restored-s3", directory / "plain-copy"

        def fresh() -> None:
            shutil.rmtree(objects, ignore_errors=True)
            ours.empty()

        copy = [sys.executable, "-c", _COPY]
        reach = [gateway.endpoint, gateway.access_key, gateway.secret_key, bucket, str(local)]
        backed_up = in_turn(rounds, {"Holdfast, first backup to S3": (fresh, ours.backup)})
        shutil.rmtree(local, ignore_errors=True)
        shutil.copytree(objects, local)
        moved = in_turn(
            rounds,
            {
                "plain put of the same objects": (lambda: None, lambda: run_once([*copy, "put", *reach])),
                "plain get of the same objects": (lambda: None, lambda: run_once([*copy, "get", *reach])),
                "Holdfast, restore from S3": (
                    lambda: shutil.rmtree(target, ignore_errors=True),
                    lambda: ours.restore(target),
                ),
            },
        )
        print(f"\n{tree_bytes(local) >> 20} MiB in objects")
        print("\n| what | wall, median s | spread | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
        for figure in (*backed_up.values(), *moved.values()):
            print(figure.row())
    for leftover in (place, target, local):
        shutil.rmtree(leftover, ignore_errors=True)
