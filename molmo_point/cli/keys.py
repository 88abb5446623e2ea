"""`molmo-point keys`: the keys with which clients and a ZeroMQ server know each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from molmo_point.defaults import ZMQ_PORT

DirOption = Annotated[Path, typer.Option("--dir", help="Folder of keys on the server.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    keys = typer.Typer(no_args_is_help=True)
    keys.command("new")(new)
    keys.command("list")(list_keys)
    app.add_typer(keys, name="keys", help="Keys of clients for an encrypted ZeroMQ server.")


def new(
    name: Annotated[str, typer.Argument(help="Of the client: robot1.")],
    directory: DirOption = Path("keys"),
    as_json: JsonOption = False,
) -> None:
    """Make keys for one client, and the server's own at the first time.

    Carry the printed file to the client: mp.connect("tcp://gpu:5555", key="robot1.key").
    """
    from molmo_point.service.zmq.keys import new_client

    path = new_client(directory, name)
    typer.echo(json.dumps({"client": name, "key": str(path)}) if as_json else str(path))
    typer.echo(
        f"carry {path} to the client and delete it here; "
        f"serve with: molmo-point serve --zmq tcp://0.0.0.0:{ZMQ_PORT} --curve-dir {directory}",
        err=True,
    )


def list_keys(directory: DirOption = Path("keys"), as_json: JsonOption = False) -> None:
    """Say which clients are let in. To shut one out, delete its file in clients/."""
    from molmo_point.service.zmq.keys import known_clients, server_key

    server = server_key(directory)
    clients = {name: public for public, name in known_clients(directory).items()}
    if as_json:
        typer.echo(json.dumps({"server": server.public, "clients": clients}))
        return
    for name, public in clients.items():
        typer.echo(f"{name}\t{public}")
