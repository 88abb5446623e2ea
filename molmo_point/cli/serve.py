"""`molmo-point serve`: a model behind ZeroMQ and HTTP."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molmo_point.checkpoints.hub import locate
from molmo_point.cli.model_options import AdapterOption, DetailOption, ModelSelection
from molmo_point.cli.ray_options import Cluster, Gpus, Ray, Replicas
from molmo_point.defaults import HTTP_ADDRESS, ZMQ_ADDRESS
from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.service.bind_check import host_port as _host_port
from molmo_point.service.bind_check import next_port as _next_port
from molmo_point.text_files import read_text

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer
    from molmo_point.service.run import ServeOptions, Service

TOKEN_VARIABLE = "MOLMO_POINT_TOKEN"


Zmq = Annotated[str, typer.Option(help="Address for questions over ZeroMQ; 'off' for none.")]
Publish = Annotated[
    str | None,
    typer.Option(help="Address for published answers; by default the port after --zmq's."),
]
Http = Annotated[str, typer.Option(help="HOST:PORT for HTTP and the web page; 'off' for none.")]
CurveDir = Annotated[
    Path | None, typer.Option(help="Folder of keys (molmo-point keys new): ZeroMQ encrypts.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help=f"File with one HTTP token a line; {TOKEN_VARIABLE} adds one more."),
]
ImageHosts = Annotated[
    list[str] | None, typer.Option(help="Host that images may be fetched from; repeatable.")
]
InnerHosts = Annotated[
    bool, typer.Option("--inner-hosts", help="Let --image-host name machines inside this network.")
]
AllowHosts = Annotated[
    list[str] | None,
    typer.Option(help="Name under which a proxy passes requests on to this server; repeatable."),
]
AllowOrigins = Annotated[
    list[str] | None,
    typer.Option(help="Origin (https://app.example.com) whose web pages may ask; repeatable."),
]


LabelStudio = Annotated[
    str | None,
    typer.Option(
        help="Be a backend of the Label Studio at this http://HOST:PORT (docs/clients.md)."
    ),
]
StrictModel = Annotated[
    bool,
    typer.Option(
        "--strict-model", help="Refuse OpenAI clients that ask for another model's name."
    ),
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(help="Further name of the model for OpenAI clients; repeatable."),
]
DialectName = Annotated[
    str,
    typer.Option(help="How OpenAI clients are answered where their model name has no @DIALECT."),
]


Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, cpu; by default the best.")]
Dtype = Annotated[str | None, typer.Option(help="bfloat16, float32; by default the model's.")]
Quantize = Annotated[str | None, typer.Option(help="Low-bit weights, as in load().")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("serve")(serve)


def serve(
    model: Annotated[str, typer.Argument(help="Name, hub repository or folder.")] = "nano",
    zmq: Zmq = ZMQ_ADDRESS,
    publish: Publish = None,
    http: Http = HTTP_ADDRESS,
    curve_dir: CurveDir = None,
    token_file: TokenFile = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines without keys and tokens.")
    ] = False,
    image_host: ImageHosts = None,
    inner_hosts: InnerHosts = False,
    allow_host: AllowHosts = None,
    allow_origin: AllowOrigins = None,
    label_studio: LabelStudio = None,
    strict_model: StrictModel = False,
    alias: Aliases = None,
    dialect: DialectName = "molmo",
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    detail: DetailOption = None,
    adapter: AdapterOption = None,
    capacity: Annotated[int, typer.Option(help="Questions that wait; then 'busy'.", min=1)] = 64,
    max_batch: Annotated[int, typer.Option(help="Questions answered together.", min=1)] = 8,
    max_pixels: Annotated[
        int, typer.Option(help="Largest width x height of an image.", min=1)
    ] = 50_000_000,
    ray: Ray = None,
    replicas: Replicas = None,
    gpus: Gpus = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve a model: questions over ZeroMQ and HTTP, a web page at the HTTP address.

    Binds to this machine alone unless told otherwise. Ctrl-C or SIGTERM stops it cleanly.
    """
    service_run, settings_type, names_type = _parts()
    where = ModelSelection(
        model, device=device, dtype=dtype, quantize=quantize, detail=detail, adapter=adapter
    )
    where.load_options()  # what is wrong with it is refused before anything is started
    locate(model)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    options = service_run.ServeOptions(
        zmq=None if zmq == "off" else zmq,
        publish=None if zmq == "off" or publish == "off" else publish or _next_port(zmq),
        http=None if http == "off" else _host_port(http),
        curve_dir=curve_dir,
        tokens=_tokens(token_file),
        image_hosts=image_host or (),
        inner_hosts=inner_hosts,
        allow_hosts=allow_host or (),
        allow_origins=allow_origin or (),
        label_studio=label_studio,
        names=names_type(strict=strict_model, aliases=alias or (), dialect=dialect),
        insecure=insecure,
        settings=settings_type(capacity, min(max_batch, capacity), max_pixels=max_pixels),
    )
    load = partial(_load, where, max_batch, Cluster(ray, replicas, gpus))
    run_service(service_run.Service(load, options), options)


def _load(where: ModelSelection, max_batch: int, cluster: Cluster) -> Pointer:
    """Load the model into this process, or start its replicas."""
    from molmo_point import api

    if cluster.ray is not None:
        return cluster.start(where, max_batch=max_batch)
    return api.load(where.model or "nano", max_batch=max_batch, **where.load_options())


def _parts() -> Any:
    """Return what only the extra brings: the module that runs a service, and its settings."""
    try:
        from molmo_point.service import run
        from molmo_point.service.http.model_names import ModelNames
        from molmo_point.service.settings import Settings
    except ImportError as error:
        raise import_failure(error, error.name or "fastapi", "serve", "serving a model") from error
    return run, Settings, ModelNames


def run_service(service: Service, options: ServeOptions) -> None:
    """Run a service until SIGINT or SIGTERM; say on stderr where it is."""
    from molmo_point.service.left_behind import left_behind
    from molmo_point.service.serving import until_stopped

    def say() -> None:
        if service.zmq is not None:
            published = service.zmq.publish_address or "off"
            typer.echo(f"questions   {service.zmq.address}\npublished   {published}", err=True)
        if service.http is not None:
            typer.echo(f"web page    {service.http.url}/", err=True)
        if options.curve_dir is None and not options.tokens and options.insecure:
            typer.echo("warning     --insecure: everybody who can connect is served", err=True)

    until_stopped(service, say, lambda: typer.echo("stopping", err=True))
    if left_behind():
        # A thread inside torch, loading or stuck, cannot be stopped, and Python's own end may abort beside it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _tokens(path: Path | None) -> tuple[str, ...]:
    found = []
    if path is not None:
        try:
            lines = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--token-file {path} cannot be read: {error}") from error
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not found:
            raise UsageError(f"--token-file {path} holds no token: write one a line")
    if os.environ.get(TOKEN_VARIABLE):
        # Often read from a file, with the line break at its end.
        found.append(os.environ[TOKEN_VARIABLE].strip())
    return tuple(found)
