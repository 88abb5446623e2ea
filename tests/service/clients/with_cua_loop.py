"""cua-agent's own `ComputerAgent` with our loop: URL TASK. Prints the pixels that it would click, None, or errors."""

import asyncio
import base64
import contextlib
import json
import sys

url, task = sys.argv[1], json.loads(sys.argv[2])
with contextlib.redirect_stdout(sys.stderr):
    from cua_agent import ComputerAgent
    from molmo_agents.adapters.cua import register

    import molmo_point as mp


async def clicks():
    register(mp.connect(url, token="s3cret"))
    agent = ComputerAgent(model="molmo-point/nano")
    results = []
    for item in [*task["items"], None]:
        image = base64.b64encode(b"no image").decode()
        if item is not None:
            with open(item["file"], "rb") as file:
                image = base64.b64encode(file.read()).decode()
        try:
            words = "red square" if item is None else item["query"]
            results.append(await agent.predict_click(words, image_b64=image))
        except Exception as error:
            results.append(type(error).__name__)
    return results


with contextlib.redirect_stdout(sys.stderr):
    places = asyncio.run(clicks())
print(json.dumps(places))
