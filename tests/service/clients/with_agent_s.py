"""Agent-S3's grounding class against a server: URL TASK. Prints for each image the pixel that it would click, or its error."""

import contextlib
import json
import sys

from gui_agents.s3.agents.grounding import OSWorldACI

url, task = sys.argv[1], json.loads(sys.argv[2])
engine = {
    "engine_type": "openai",
    "model": "nano@agent-s",
    "base_url": url + "/v1",
    "api_key": "s3cret",
}
results = []
with contextlib.redirect_stdout(sys.stderr):
    for item in task["items"]:
        size = {"grounding_width": item["size"][0], "grounding_height": item["size"][1]}
        aci = OSWorldACI(
            None,
            "linux",
            engine,
            {**engine, **size},
            width=item["size"][0],
            height=item["size"][1],
        )
        with open(item["file"], "rb") as file:
            screenshot = {"screenshot": file.read()}
        try:
            place = aci.resize_coordinates(aci.generate_coords(item["query"], screenshot))
            results.append([float(v) for v in place])
        except AssertionError:  # what its planner hears of an answer without coordinates
            results.append(None)
print(json.dumps(results))
