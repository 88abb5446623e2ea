"""Label Studio itself against a server: URL TASK PORT FOLDER. Prints the predictions that it stores for each image.

Starts Label Studio on PORT with its data in FOLDER, uploads the images, connects the server as machine learning backend and has
it predict.
"""

import json
import os
import subprocess
import sys
import time

import requests

url, task, port, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """<View><Image name="img" value="$image"/>
<KeyPointLabels name="kp" toName="img"><Label value="target" predicted_values="the red square"/></KeyPointLabels>
<Number name="count" toName="img"/></View>"""
environment = {
    **os.environ,
    "LABEL_STUDIO_BASE_DATA_DIR": folder,
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "SSRF_PROTECTION_ENABLED": "false",
    "USE_DEFAULT_BANNED_SUBNETS": "false",  # this machine is where the server is
    "ML_CONNECTION_TIMEOUT": "10",
    "ML_TIMEOUT_HEALTH": "10",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
}
server = subprocess.Popen(
    [sys.executable, "-m", "label_studio.server", "start", "--no-browser", "--port", port, "--internal-host", "127.0.0.1",
     "--username", "a@example.org", "--password", "s3cret-s3cret", "--user-token", TOKEN],
    env=environment, stdout=sys.stderr, stderr=sys.stderr,
)  # fmt: skip
home = f"http://127.0.0.1:{port}"
session = requests.Session()
session.trust_env = False
session.headers["Authorization"] = f"Token {TOKEN}"


def call(method, path, **arguments):
    answer = session.request(method, home + path, timeout=60, **arguments)
    if not answer.ok:
        raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
    return answer.json() if answer.content else None


try:
    until = time.monotonic() + 480
    while True:
        try:
            if session.get(home + "/health", timeout=5).ok:
                break
        except requests.RequestException:
            pass
        if server.poll() is not None or time.monotonic() > until:
            raise SystemExit("Label Studio did not start")
        time.sleep(0.5)
    project = call("POST", "/api/projects/", json={"title": "squares", "label_config": CONFIG})[
        "id"
    ]
    for item in task["items"]:
        with open(item["file"], "rb") as file:
            call(
                "POST",
                f"/api/projects/{project}/import",
                files={"file": (os.path.basename(item["file"]), file)},
            )
    call("POST", "/api/ml/", json={
        "project": project, "url": url, "title": "molmo-point", "auth_method": "BASIC_AUTH",
        "basic_auth_user": "any", "basic_auth_pass": "s3cret", "timeout": 60,
    })  # fmt: skip
    tasks = call("GET", f"/api/tasks/?project={project}&page_size=100&fields=all")["tasks"]
    ids = sorted(one["id"] for one in tasks)
    call("POST", f"/api/dm/actions/?id=retrieve_tasks_predictions&project={project}",
         json={"selectedItems": {"all": False, "included": ids}})  # fmt: skip
    found, until = {}, time.monotonic() + 60
    while len(found) < len(ids) and time.monotonic() < until:
        for one in call("GET", f"/api/predictions/?project={project}"):
            found[one["task"]] = {key: one[key] for key in ("result", "score", "model_version")}
        time.sleep(0.5)
    print(json.dumps([found.get(number) for number in ids]))
finally:
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
