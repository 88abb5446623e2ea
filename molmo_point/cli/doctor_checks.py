"""What `molmo-point doctor` looks at, one function for each matter. None of them raises: trouble is a finding."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import time
from typing import TYPE_CHECKING

from molmo_point.cli.doctor_check import Check
from molmo_point.defaults import HTTP_PORT, ZMQ_PORT
from molmo_point.errors import BrokenInstall
from molmo_point.install import import_failure, install_line

if TYPE_CHECKING:
    from molmo_point.cli.model_options import ModelSelection
    from molmo_point.client.remote import RemotePointer

PORTS = {"zmq": ZMQ_PORT, "http": HTTP_PORT}
"""The ports that `molmo-point serve` takes unless told otherwise."""

ADVICE = {
    "zmq": "serve --zmq tcp://127.0.0.1:PORT takes another; doctor --connect asks what answers there",
    "http": "serve --http 127.0.0.1:PORT takes another; doctor --connect asks what answers there",
}
"""What to do about a port of PORTS that is taken."""

_PINGS = 5
_SERVER_TIMEOUT_S = 10.0
_SHOWN = ("numpy", "pillow", "pyzmq", "pydantic")
_NANO_TIMEOUT_S = 60.0
_PORT_TIMEOUT_S = 0.5
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;.*\bextra == ['\"]([a-z0-9_-]+)['\"])?")


def extras() -> list[Check]:
    """Say which packages are there, and for each extra what it lacks and the pip line that brings it."""
    found = [Check("package", "ok", f"{name} {_version(name) or 'is missing'}") for name in _SHOWN]
    for extra, packages in sorted(required_packages().items()):
        versions = {package: _version(package) for package in sorted(packages)}
        lacking = [package for package, version in versions.items() if version is None]
        there = ", ".join(
            f"{package} {version}" for package, version in versions.items() if version
        )
        if lacking:
            advice = install_line(extra)
            found.append(Check(f"extra {extra}", "missing", f"lacks {', '.join(lacking)}", advice))
        else:
            found.append(Check(f"extra {extra}", "ok", there))
    return found


def required_packages() -> dict[str, set[str]]:
    """Return the packages of each extra of this installation, extras of extras included; not those for developers."""
    try:
        lines = importlib.metadata.requires("molmo-point") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    direct: dict[str, set[str]] = {}
    inner: dict[str, set[str]] = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None or match[2] is None or match[2] in ("dev", "all"):
            continue
        direct.setdefault(match[2], set())
        if re.sub(r"[-_.]+", "-", match[1]).lower() == "molmo-point":
            named = line.partition("[")[2].partition("]")[0]
            inner.setdefault(match[2], set()).update(named.replace(" ", "").split(","))
        else:
            direct[match[2]].add(match[1])
    for extra in direct:
        waiting, seen = list(inner.get(extra, ())), {extra}
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                direct[extra] |= direct.get(other, set())
                waiting += inner.get(other, ())
    return direct


def devices() -> list[Check]:
    """Say what torch can compute on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        failure = import_failure(error, "torch", "engine", "Running a model here")
        if isinstance(failure, BrokenInstall):
            return [Check("torch", "failed", str(failure))]
        advice = install_line("engine")
        return [Check("torch", "missing", "models run on a server only", advice)]
    found = [Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16: use --dtype float16"
        memory = f"{properties.total_memory / 1e9:.0f} GB"
        found.append(Check(f"cuda:{index}", "ok", f"{properties.name}, {memory}, {half}"))
    if torch.backends.mps.is_available():
        found.append(Check("mps", "ok", "Apple GPU"))
    if len(found) == 1:
        found.append(
            Check("device", "ok", "cpu only: nano answers in seconds, the large ones in minutes")
        )
    return found


def cache() -> list[Check]:
    """Say where downloaded models lie, which are there, and how much room is left."""
    from molmo_point.checkpoints.catalog import CATALOG, hub_cache

    folder = hub_cache()
    present = [entry.name for entry in CATALOG if entry.hub_name and entry.folder() is not None]
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    writable = os.access(existing, os.W_OK)
    detail = f"{folder}, {free / 1e9:.0f} GB free, holds {', '.join(present) or 'no Molmo'}"
    advice = "" if writable else "set HF_HOME to a folder that can be written to"
    return [Check("hub cache", "ok" if writable else "failed", detail, advice)]


def ports() -> list[Check]:
    """Say whether the ports of `molmo-point serve` are free on this machine's loopback."""
    found = []
    for name, port in PORTS.items():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_PORT_TIMEOUT_S):
                detail, advice = "something answers there", ADVICE[name]
        except OSError:
            detail, advice = "free", ""
        found.append(Check(f"port {port} ({name})", "ok", detail, advice))
    return found


def speed() -> list[Check]:
    """Measure memory and arithmetic of the CPU for some seconds."""
    try:
        from molmo_point.model.machine_speed import KINDS, measure_bandwidth, measure_products
    except (ImportError, OSError):
        return []
    rates = [
        f"{measure_products(kind).operations / 1e9:.0f} GFLOP/s in {kind}" for kind in KINDS[:2]
    ]
    found = f"reads {measure_bandwidth() / 1e9:.0f} GB/s, {', '.join(rates)}"
    return [Check("cpu", "ok", found, "molmo-point models --fit says what that means")]


def nano() -> list[Check]:
    """Load the model in the package and point with it, as every user would."""
    from molmo_point import api
    from molmo_point.errors import MissingExtra, PointError

    begin = time.perf_counter()
    try:
        pointer = api.load("nano", device="cpu")
    except MissingExtra:
        return [
            Check("nano", "missing", "needs torch; a server can be asked", install_line("engine"))
        ]
    except PointError as error:
        return [Check("nano", "failed", str(error))]
    loaded = time.perf_counter()
    try:
        pointing = pointer.point(_grey_image(), "circle", timeout_s=_NANO_TIMEOUT_S)
    except PointError as error:
        return [Check("nano", "failed", f"loads, but does not point: {error}")]
    finally:
        pointer.close()
    spent = (
        f"loads in {loaded - begin:.2f} s, points in {pointing.timing.total_s:.2f} s on the CPU"
    )
    return [Check("nano", "ok", spent)]


def server(where: ModelSelection) -> list[Check]:
    """Ask a server what it is, how quickly it answers, and to point once."""
    from molmo_point.cli.model_options import open_pointer
    from molmo_point.client.remote import RemotePointer
    from molmo_point.errors import PointError, Refused

    name = f"server {where.connect}"
    try:
        with open_pointer(where, quiet=True) as pointer:
            begin = time.perf_counter()
            # First: a server that is still loading its model is ready after this.
            pointing = pointer.point(_grey_image(), "circle", timeout_s=_NANO_TIMEOUT_S)
            seconds = time.perf_counter() - begin
            found = [Check(name, "ok", f"points with {pointing.model} in {seconds:.2f} s")]
            return found + (_hello(pointer) if isinstance(pointer, RemotePointer) else [])
    except Refused as error:
        return [Check(name, "failed", str(error), "give --key FILE (tcp) or --token (http)")]
    except PointError as error:
        return [Check(name, "failed", str(error), "start it there: molmo-point serve")]


def _hello(pointer: RemotePointer) -> list[Check]:
    info = pointer.info(timeout_s=_SERVER_TIMEOUT_S)
    times = []
    for _ in range(_PINGS):
        begin = time.perf_counter()
        pointer.info(timeout_s=_SERVER_TIMEOUT_S)
        times.append(time.perf_counter() - begin)
    state = "ok" if info.ready else "failed"
    queue = f"{info.waiting} of {info.capacity} in the queue"
    return [
        Check("state", state, f"{info.state}, version {info.version}, {queue}"),
        Check("latency", "ok", f"{1000 * sorted(times)[_PINGS // 2]:.1f} ms, median of {_PINGS}"),
    ]


def _grey_image() -> bytes:
    import io

    from PIL import Image, ImageDraw

    image = Image.new("RGB", (336, 336), (128, 128, 128))
    ImageDraw.Draw(image).ellipse((100, 100, 160, 160), fill=(200, 30, 30))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
