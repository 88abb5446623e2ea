"""Downloads from a loopback hub with one failure each: a DownloadError in one sentence; complete files are kept."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from molmo_point.checkpoints import hub
from molmo_point.checkpoints.catalog import CatalogEntry, hub_cache
from molmo_point.checkpoints.hub import resolve
from molmo_point.errors import CheckpointError, DownloadError, ModelNotFound, PointError

TINY = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"
COMMIT = "a" * 40
REFUSALS: dict[str, tuple[int, dict[str, str]]] = {
    "token": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
    "private": (401, {"X-Error-Code": "RepoNotFound"}),
    "missing": (404, {"X-Error-Code": "RepoNotFound"}),
    "gated": (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"}),
    "forbidden": (403, {}),
    "rate": (429, {}),
    "500": (500, {}),
    "504": (504, {}),
    "teapot": (418, {}),
}


class Hub:
    """A hub with one repository, acme/tiny.

    Attributes:
        files: What is in it.
        mode: "ok", a key of REFUSALS, "portal" (a page of HTML), or "drop" (weights break off in the middle).
        asked: Paths that were asked for.
    """

    def __init__(self) -> None:
        self.files = {
            path.name: path.read_bytes()
            for path in TINY.iterdir()
            if path.suffix in (".json", ".safetensors") and not path.name.startswith("golden")
        }
        self.mode = "ok"
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if self.mode in REFUSALS:
            return *REFUSALS[self.mode], b"{}"
        if self.mode == "portal":
            return 200, {"Content-Type": "text/html"}, b"<html>please log in</html>"
        if path.startswith("/api/"):
            entries = [
                {
                    "rfilename": name,
                    "path": name,
                    "type": "file",
                    "size": len(data),
                    "oid": "0" * 40,
                }
                for name, data in self.files.items()
            ]
            if "/tree/" in path:
                return 200, {}, json.dumps(entries).encode()
            info = {"id": "acme/tiny", "sha": COMMIT, "siblings": entries, "private": False}
            return 200, {}, json.dumps(info).encode()
        name = path.rpartition("/")[2]
        data = self.files[name]
        tag = f'"{hashlib.sha1(data).hexdigest()}"'
        size = str(len(data))
        headers = {"ETag": tag, "X-Repo-Commit": COMMIT}
        return 200, {**headers, "X-Linked-Size": size, "X-Linked-Etag": tag}, data

    def weights_asked(self) -> bool:
        return any(path.endswith(".safetensors") for path in self.asked)


def handler(made: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            status, headers, body = made.answer(path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = made.mode == "drop" and path.endswith(".safetensors")
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

    return Handler


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # What is repeated after seconds is repeated at once.
    monkeypatch.setattr(
        "huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None)
    )
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def failure() -> PointError:
    with pytest.raises(PointError) as caught:
        resolve("acme/tiny", announce=lambda _: None)
    return caught.value


def test_a_download_announces_its_size_and_is_made_once(made: Hub) -> None:
    told: list[str] = []
    folder = resolve("acme/tiny", announce=told.append)
    assert (folder / "model.safetensors").read_bytes() == made.files["model.safetensors"]
    assert re.fullmatch(r"acme/tiny: 3\.1 MB to fetch, [\d.]+ [MG]B free at .*/hub", told.pop())
    made.asked.clear()
    assert resolve("acme/tiny", announce=told.append) == folder
    assert not told
    assert not made.weights_asked()


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("token", DownloadError, "did not accept the token .*hf auth login"),
        ("private", ModelNotFound, "If it is a private repository, log in"),
        ("missing", ModelNotFound, "no model or folder 'acme/tiny'"),
        ("gated", DownloadError, "is gated: accept its terms at http"),
        ("forbidden", DownloadError, "may not be read with this account"),
        ("rate", DownloadError, "takes no more requests .*429"),
        ("500", DownloadError, "in trouble .*500.* try again later"),
        ("504", DownloadError, "in trouble .*504.* try again later"),
        ("teapot", DownloadError, "answered 418"),
        ("portal", DownloadError, "is not the hub.* login page"),
        ("drop", DownloadError, "connection broke off; give the same command again"),
    ],
)
def test_each_failure_has_its_own_message(
    made: Hub, mode: str, kind: type[PointError], words: str
) -> None:
    made.mode = mode
    error = failure()
    assert type(error) is kind
    assert re.search(words, str(error))
    assert "\n" not in str(error)


@pytest.mark.parametrize("mode", ["500", "portal", "gated", "token"])
def test_a_complete_copy_on_this_machine_works_without_the_hub(made: Hub, mode: str) -> None:
    folder = resolve("acme/tiny", announce=lambda _: None)
    made.mode = mode
    assert resolve("acme/tiny") == folder


def test_an_incomplete_download_is_not_used(made: Hub) -> None:
    entry = CatalogEntry("tiny", "acme/tiny", 0, 0, "", None)
    made.mode = "drop"
    failure()
    assert entry.folder() is None
    made.mode = "500"
    assert "in trouble" in str(failure())
    made.mode = "ok"
    assert resolve("acme/tiny", announce=lambda _: None) == entry.folder()


def test_an_unsupported_model_is_refused_before_its_weights(made: Hub) -> None:
    made.files["config.json"] = json.dumps({"model_type": "molmo3"}).encode()
    error = failure()
    assert isinstance(error, CheckpointError)
    assert "got model_type 'molmo3'" in str(error)
    assert "weights were not fetched" in str(error)
    assert not made.weights_asked()


def test_a_rule_of_generation_is_refused_before_the_weights(made: Hub) -> None:
    made.files["generation_config.json"] = json.dumps({"suppress_tokens": [27]}).encode()
    assert "suppress_tokens = [27]" in str(failure())
    assert not made.weights_asked()


def test_an_adapter_is_refused_before_its_weights(made: Hub) -> None:
    del made.files["config.json"]
    made.files["adapter_config.json"] = b'{"peft_type": "LORA"}'
    made.files["adapter_model.safetensors"] = made.files.pop("model.safetensors")
    assert "holds an adapter" in str(failure())
    assert not made.weights_asked()


def test_a_repository_of_pickles_is_named_as_such(made: Hub) -> None:
    made.files["pytorch_model.bin"] = made.files.pop("model.safetensors")
    assert "holds pickled weights (pytorch_model.bin)" in str(failure())


def test_only_the_weights_of_the_model_are_fetched(made: Hub) -> None:
    made.files["consolidated.safetensors"] = b"not this one"
    folder = resolve("acme/tiny", announce=lambda _: None)
    assert not (folder / "consolidated.safetensors").exists()


def test_a_disk_that_is_too_full_is_known_before(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "free_bytes", lambda: 1_000_000)
    assert "3.1 MB to fetch, 1.0 MB free" in str(failure())
    assert not made.weights_asked()


def test_a_file_that_is_too_short_is_fetched_again(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made.files["model.safetensors"]
    listing = hub._listing
    monkeypatch.setattr(
        hub, "_listing", lambda name: listing(name) | {"model.safetensors": len(whole)}
    )
    made.files["model.safetensors"] = whole[:-9]
    assert "did not come whole" in str(failure())
    made.files["model.safetensors"] = whole
    folder = resolve("acme/tiny", announce=lambda _: None)
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_full_disk_during_a_download_leaves_nothing_half_written(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = hub_cache() / "models--acme--tiny/blobs"

    def download(repository: str, **_: object) -> str:
        blobs.mkdir(parents=True)
        (blobs / "whole").write_bytes(b"x")
        (blobs / "half.incomplete").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert "the disk is full" in str(failure())
    assert [path.name for path in blobs.iterdir()] == ["whole"]


def test_a_cache_that_cannot_be_written_to(made: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "/hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert "cannot be written to" in str(failure())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9", "cannot be reached at http://127.0.0.1:9.* copy the folder here"),
        ("127.0.0.1:9", "correct HF_ENDPOINT"),
        ("ftp://127.0.0.1:9", "correct HF_ENDPOINT"),
    ],
)
def test_a_hub_that_is_not_there(
    made: Hub, monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    error = failure()
    assert isinstance(error, DownloadError)
    assert re.search(words, str(error))


def test_offline_mode_is_named(made: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1 forbids" in str(failure())


def test_an_unknown_error_becomes_a_download_error(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listing(_: str) -> dict[str, int]:
        raise RuntimeError("surprise\nand more")

    monkeypatch.setattr(hub, "_listing", listing)
    assert "could not be fetched: RuntimeError: surprise" in str(failure())


def test_a_socks_proxy_without_its_package(made: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(_: str) -> dict[str, int]:
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed")

    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setattr(hub, "_listing", listing)
    assert re.search(r"socksio.*ALL_PROXY=socks5://127\.0\.0\.1:1", str(failure()))


@pytest.fixture
def fresh_session() -> Iterator[None]:
    """The library reads the environment once for each of its sessions."""
    _close_sessions()
    yield
    _close_sessions()


def _close_sessions() -> None:
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()
    else:  # below huggingface_hub 1
        huggingface_hub.utils.reset_sessions()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("password", ["secret", "sec ret", "s@cret"])
def test_a_dead_proxy_is_named_without_its_password(
    made: Hub, monkeypatch: pytest.MonkeyPatch, fresh_session: None, name: str, password: str
) -> None:
    monkeypatch.setenv(name, f"http://me:{password}@127.0.0.1:9")
    message = str(failure())
    assert (
        f"through the proxy {name}=http://127.0.0.1:9: correct or unset that variable" in message
    )
    assert "cret" not in message
    assert not made.asked


@pytest.mark.parametrize(
    "value", ["socks://me:secret@127.0.0.1:9", "http://me:sec/ret@127.0.0.1:9"]
)
def test_a_proxy_whose_address_cannot_be_used(
    made: Hub, monkeypatch: pytest.MonkeyPatch, fresh_session: None, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    message = str(failure())
    assert re.search(r"ALL_PROXY=\w+://127\.0\.0\.1:9: that is no address of a proxy", message)
    assert "ret" not in message.replace("correct", "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("SSL_CERT_FILE", None, r"SSL_CERT_FILE=\S+ does not exist: correct or unset it"),
        ("SSL_CERT_FILE", b"junk", r"no TLS connection .*now SSL_CERT_FILE="),
    ],
)
def test_certificates_that_cannot_be_read_are_named(
    made: Hub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fresh_session: None,
    name: str,
    content: bytes | None,
    words: str,
) -> None:
    if content is not None:
        (tmp_path / "cert.pem").write_bytes(content)
    monkeypatch.setenv(name, str(tmp_path / "cert.pem"))
    assert re.search(words, str(failure()))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), "the certificate of .* was not accepted"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "no TLS connection"),
        (PermissionError(errno.EACCES, "Permission denied"), "could not be fetched: Permission"),
    ],
)
def test_what_fails_in_the_network_is_not_said_of_the_disk(
    made: Hub, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def listing(_: str) -> dict[str, int]:
        raise error

    monkeypatch.setattr(hub, "_listing", listing)
    message = str(failure())
    assert re.search(words, message)
    assert "cannot be written" not in message


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")]
)
def test_a_proxy_that_is_not_used_is_not_named(
    made: Hub, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "" if name == "HTTPS_PROXY" else "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    message = str(failure())
    assert "connect this machine to the network" in message
    assert "PROXY" not in message


def test_a_password_in_the_address_of_the_hub_is_not_shown(
    made: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
    assert "secret" not in str(failure())


def test_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert hub_cache() == Path("~/.cache/huggingface/hub")
    assert CatalogEntry("tiny", "acme/tiny", 0, 0, "", None).folder() is None
    assert "no home directory" in str(failure())
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert hub_cache() == Path("/data/hf/hub")


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("nano/x", "Did you mean nano?"),
        ("allenai/Molm-7B", "allenai/Molmo-7B-D-0924"),
        ("alenai/molmo-7b-d-0924", "Did you mean allenai/Molmo-7B-D-0924, "),
        ("molmo/72b", "Did you mean molmo-72b"),
        ("acme/tiny", ""),
    ],
)
@pytest.mark.parametrize("offline", [False, True])
def test_a_mistyped_name_of_two_parts_is_offered_the_known_ones(
    made: Hub, monkeypatch: pytest.MonkeyPatch, name: str, offered: str, offline: bool
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(DownloadError) as caught:
        resolve(name)
    assert offered in str(caught.value)
    assert ("Did you mean" in str(caught.value)) is bool(offered)


def test_a_path_whose_folder_exists_is_no_name_of_the_hub(
    made: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ModelNotFound, match="there is a folder runs, but no runs/nano in it"):
        resolve("runs/nano")
    assert not made.asked


def test_a_model_that_was_cloned_without_git_lfs(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "clone")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    (tmp_path / "clone/tokenizer.json").write_text(pointer)
    from molmo_point.preprocess.tokenizer import Tokenizer

    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        Tokenizer(tmp_path / "clone")
