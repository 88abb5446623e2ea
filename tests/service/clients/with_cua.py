"""cua-agent's own loops against a server: URL TASK. Prints for each loop the pixels that it would click, or its errors."""

import asyncio
import base64
import contextlib
import json
import os
import sys

url, task = sys.argv[1], json.loads(sys.argv[2])
# Not every loop hands on the address that it is given.
os.environ |= {"OPENAI_API_BASE": url + "/v1", "OPENAI_API_KEY": "s3cret"}
with contextlib.redirect_stdout(sys.stderr):
    from cua_agent.loops.gta1 import GTA1Config
    from cua_agent.loops.holo import HoloConfig
    from cua_agent.loops.uitars import UITARSConfig

LOOPS = {"gta1": GTA1Config, "holo": HoloConfig, "ui-tars": UITARSConfig}


async def clicks(loop):
    results = []
    for item in task["items"]:
        with open(item["file"], "rb") as file:
            image = base64.b64encode(file.read()).decode()
        try:
            model = f"openai/{loop.upper()}@{loop}"
            results.append(await LOOPS[loop]().predict_click(model, image, item["query"]))
        except Exception as error:
            results.append(type(error).__name__)
    return results


with contextlib.redirect_stdout(sys.stderr):
    places = {loop: asyncio.run(clicks(loop)) for loop in LOOPS}
print(json.dumps(places))
