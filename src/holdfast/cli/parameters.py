"""Arguments and options that several commands take, in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.completion import service_names, snapshot_ids

Service = Annotated[
    str, typer.Argument(help="The service, by its name in the stack file.", autocompletion=service_names)
]
LatestOf = Annotated[
    str,
    typer.Option(
        "--service",
        metavar="NAME",
        help="The service whose latest is meant; needed when several have snapshots.",
        autocompletion=service_names,
    ),
]
SnapshotId = Annotated[
    str, typer.Argument(help="The snapshot, by its first digits, or latest.", autocompletion=snapshot_ids)
]
