"""The commands, the examples, the MCP server and the adapters, each from outside as a user has them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_agents import AsyncWebPointer, Policy, allow_risks
from molmo_agents.adapters.browsergym import PointAgent, PointAgentArgs, click_described
from molmo_agents.browser.launch import find_chromium, launch_arguments
from PIL import Image

from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.oracle import HELPER

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
WEB = [sys.executable, "-c", "from molmo_agents.cli.app import main; main()"]
PAGE = (
    HELPER
    + "<body style='margin:0'><style>button { position: absolute; left: 100px; top: 100px; width: 120px; height: 60px }</style>"
    + "<button data-id=ok>Go</button>"
)
GO = "0.125,0.1625"
"""The button's middle in a viewport of 1280x800."""


def web(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WEB, *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def served(site: Site, chromium: str) -> Site:
    site.routes["/"] = PAGE
    return site


def test_a_file_of_the_users_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "a.png"
    mine.write_text("mine")
    for command in (("shot", "-o"), ("point", "button", "--picture")):
        name, *query, option = command
        done = web(name, "http://127.0.0.1:9/", *query, option, str(mine))
        assert done.returncode == 2, done.stderr
        assert "--overwrite" in done.stderr
        assert mine.read_text() == "mine"


def test_shot(served: Site, tmp_path: Path) -> None:
    done = web("shot", served.url + "/", "-o", str(tmp_path / "a.png"), "--viewport", "640x480")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "a.png").size == (640, 480)


def test_a_screenshot_in_device_pixels(served: Site, tmp_path: Path) -> None:
    done = web("shot", served.url + "/", "-o", str(tmp_path / "a.png"), "--dpr", "2")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "a.png").size == (2560, 1600)


def test_point_and_click(served: Site, tmp_path: Path) -> None:
    """A click is a dry run until --act; the image with the point on it is written either way."""
    found = web("point", served.url + "/", "the button", "--at", GO, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["target"]["name"] == "Go"
    dry = web(
        "click", served.url + "/", "the button", "--at", GO, "--picture", str(tmp_path / "o.png")
    )
    assert (dry.returncode, dry.stdout.split()[0]) == (0, "ready"), dry.stderr
    colours = np.asarray(Image.open(tmp_path / "o.png").convert("RGB")).reshape(-1, 3)
    assert (colours == (20, 140, 60)).all(axis=1).any()
    act = web(
        "click",
        served.url + "/",
        "the button",
        "--at",
        GO,
        "--act",
        "--expect-name",
        "Go",
        "--log",
        str(tmp_path / "log"),
    )
    assert (act.returncode, act.stdout.split()[0]) == (0, "delivered"), act.stderr
    assert (tmp_path / "log" / "steps.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("click", "file:///etc/passwd", "x", "--at", "0.5,0.5"), 2, "not an http"),
        (("click", "http://127.0.0.1:9/", "x", "--at", "0.5,0.5"), 1, "did not open"),
        (("point", "http://127.0.0.1:9/", "x", "--at", "2,2"), 2, "0-1 of the viewport"),
        (("shot", "http://127.0.0.1:9/", "--viewport", "big"), 2, "1280x800"),
        (("shot", "http://127.0.0.1:9/", "-o", "no/such/folder/a.png"), 2, "cannot write"),
        (("shot", "http://127.0.0.1:9/", "--region", "2000,0,10,10"), 2, "does not lie"),
        (("mcp", "--allow-origin", "http://a.example", "--http", "99999"), 2, "65535"),
        (("run", "nowhere.yaml", "--at", "0.5,0.5"), 2, "there is no flow file"),
        (("replay", "nowhere"), 2, "only what"),
        (("bench", "miniwob", "--tier", "Z", "--model", "dom"), 2, "expected tiers"),
    ],
)
def test_mistakes_say_what_to_do(
    chromium: str, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = web(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_no_browser_is_one_sentence(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "MOLMO_CHROMIUM": ""}
    done = web("shot", "http://127.0.0.1:9/", env=env)
    assert done.returncode == 2
    assert "apt-get install chromium" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.lengthy
def test_run_and_replay(served: Site, tmp_path: Path) -> None:
    """What was recorded with a pointer is done again without one, on a page that must look the same."""
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        f"start: {served.url}/\nsteps:\n  - click: the button\n    name: Go\n  - exists: the button\n"
    )
    done = web("run", str(flow), "--at", GO, "--log", str(tmp_path / "log"), "--json")
    assert done.returncode == 0, done.stderr
    report = Path(json.loads(done.stdout)["report"]).read_text("utf-8")
    assert report.count("data:image/png") == 2
    assert "<script" not in report
    again = web("replay", str(tmp_path / "log"), "--json")
    assert again.returncode == 0, again.stderr
    steps = json.loads(again.stdout)["steps"]
    assert [step["status"] for step in steps] == ["delivered", "delivered", "found"]
    served.routes["/"] = PAGE.replace(">Go<", ">Delete<")
    changed = web("replay", str(tmp_path / "log"), "--log", str(tmp_path / "third"))
    assert changed.returncode == 1
    assert "name_mismatch" in changed.stderr


def test_doctor_proves_one_click(chromium: str) -> None:
    done = web("doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["one click"]["good"]
    assert found["browser"]["good"]


@pytest.mark.parametrize("name", ["login", "basket", "mails", "form"])
def test_examples(chromium: str, tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "agents" / "examples" / "run.py"), name, "--log", str(tmp_path / "log")],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (tmp_path / "log").iterdir():
        assert b"tulip-42" not in path.read_bytes()
    if name == "basket":
        assert "needs_confirmation" in done.stdout


def test_an_example_that_runs_again_reports_on_itself_alone(chromium: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agents" / "examples" / "run.py"), "mails"]
    reports = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        reports.append((tmp_path / "example-log" / "mails" / "report.html").read_text("utf-8"))
    assert reports[0].count("<section") == reports[1].count("<section") > 0


async def _talk(python: str, url: str, origin: str) -> dict[str, Any]:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    code = "from molmo_agents.cli.app import main; main()"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "agents")])
    server = StdioServerParameters(
        command=python,
        args=["-c", code, "mcp", "--allow-origin", origin, "--at", GO],
        env={**os.environ, "PYTHONPATH": paths},
    )
    answers: dict[str, Any] = {}
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        listed = (await session.list_tools()).tools
        answers["tools"] = {
            tool.name: tool.model_dump(mode="json", by_alias=True) for tool in listed
        }
        calls: list[tuple[str, dict[str, Any]]] = [
            ("open_page", {"url": url}),
            ("point", {"description": "the button"}),
            ("click", {"description": "the button"}),
            ("open_page", {"url": "https://example.com/"}),
            ("look", {}),
        ]
        for index, (name, arguments) in enumerate(calls):
            result = await asyncio.wait_for(session.call_tool(name, arguments), 200)
            answers[f"{index} {name}"] = result.model_dump(mode="json", by_alias=True)
    return answers


def _in_thread(coroutine: Any) -> Any:
    """Playwright's synchronous API occupies this thread's event loop."""
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["value"] = asyncio.run(coroutine)
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(500)
    if "error" in box:
        raise box["error"]
    return box["value"]


def test_mcp_server_over_stdio(served: Site) -> None:
    """The schemas and the structured answers; both major versions of the SDK are in test_adapters.py."""
    answers = _in_thread(_talk(sys.executable, served.url + "/", served.url))
    tools = answers["tools"]
    assert set(tools) == {
        "look", "point", "count", "exists", "wait_for", "tabs", "policy", "open_page", "back", "click", "click_all",
        "hover", "type_text",
        "type_secret", "press_key", "select", "check", "upload", "drag", "scroll_to", "switch_tab",
    }  # fmt: skip
    for tool in tools.values():
        assert not {"x", "y", "coordinate"} & set(tool["inputSchema"]["properties"])
    assert tools["point"]["annotations"]["readOnlyHint"] is True
    assert tools["click"]["annotations"]["readOnlyHint"] is False
    assert answers["1 point"]["structuredContent"]["page_element"] == "button Go"
    assert answers["2 click"]["structuredContent"]["status"] == "delivered"
    assert answers["3 open_page"]["structuredContent"]["status"] == "blocked_origin"
    kinds = [part["type"] for part in answers["4 look"]["content"]]
    assert "image" in kinds


def test_browsergym_agent_points_in_screenshot_pixels() -> None:
    agent = PointAgent(FakePointer({"the button": [(0.5, 0.25)]}))
    obs = agent.obs_preprocessor(
        {"goal": "the button", "screenshot": np.zeros((200, 400, 3), np.uint8), "axtree": 1}
    )
    assert agent.get_action(obs)[0] == "mouse_click(200.0, 50.0)"
    assert agent.get_action({**obs, "goal": "a zebra"})[0].startswith("report_infeasible")
    import pickle

    # AgentLab sends the description to its workers in this way; the bytes are our own.
    assert pickle.loads(pickle.dumps(PointAgentArgs("tcp://gpu:5555"))).model == "tcp://gpu:5555"


def test_browsergym_action_on_a_page(page: Any, served: Site) -> None:
    page.goto(served.url + "/")
    click_described(page, "the button", FakePointer({"the button": [(160 / 900, 130 / 600)]}))
    assert page.evaluate("pressed") == ["ok"]
    with pytest.raises(UsageError, match="absent"):
        click_described(page, "a zebra", FakePointer())


async def _over_cdp(url: str, origin: str, folder: Path) -> Any:
    from molmo_agents.adapters.browser_use import click_over_cdp

    arguments = [
        find_chromium(), *launch_arguments(), "--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}",
        "--window-size=1280,800", url,
    ]  # fmt: skip
    chrome = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = folder / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and port_file.read_text().strip():
                break
            await asyncio.sleep(0.1)
        address = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"
        pointer = FakePointer(lambda image, query: [(160 / image.shape[1], 130 / image.shape[0])])
        for _ in range(50):
            try:
                return await click_over_cdp(
                    address, url, "the button", pointer, Policy(origins=(origin,))
                )
            except UsageError:
                await asyncio.sleep(0.2)
        raise AssertionError("the page never came")
    finally:
        chrome.kill()
        chrome.wait(20)


def test_a_browser_somebody_else_started_over_cdp(served: Site, tmp_path: Path) -> None:
    outcome = _in_thread(_over_cdp(served.url + "/", served.url, tmp_path))
    assert outcome.status == "delivered", outcome
    assert outcome.target.name == "Go"


def test_allowing_risks_is_explicit(page: Any, site: Site) -> None:
    site.routes["/"] = PAGE.replace(">Go<", ">Buy now<")
    page.goto(site.url + "/")
    pointer = FakePointer({"b": [(160 / 900, 130 / 600)]})
    from molmo_agents import WebPointer

    with WebPointer(page, pointer) as web:
        assert web.click("b").status == "needs_confirmation"
    with WebPointer(page, pointer, Policy(confirm=allow_risks(["buy"]))) as web:
        assert web.click("b").status == "delivered"
    assert AsyncWebPointer is not None


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = web("mcp", "--allow-origin", "http://a.example", "--http", port, "--model", "none")
    assert done.returncode == 2
    assert "choose another port" in done.stderr
