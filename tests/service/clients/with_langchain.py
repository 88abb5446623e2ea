"""langchain-openai against a server: URL TASK. Prints what it returns as JSON."""

import asyncio
import json
import sys

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

url, task = sys.argv[1], json.loads(sys.argv[2])
chat = ChatOpenAI(
    model="gpt-4o",
    base_url=url + "/v1",
    api_key="s3cret",
    max_retries=0,
    timeout=30,
    stream_usage=True,
)
content = task["messages"][-1]["content"]
messages = [SystemMessage("You are a helpful assistant."), HumanMessage(content=content)]
whole = chat.invoke(messages, max_tokens=300)
chunks = list(chat.stream(messages))


async def again():
    return await chat.ainvoke(messages)


usage = [c.usage_metadata for c in chunks if c.usage_metadata][-1]
print(
    json.dumps(
        {
            "text": whole.content,
            "reason": whole.response_metadata["finish_reason"],
            "usage": [whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]],
            "streamed": "".join(c.content for c in chunks),
            "stream_usage": [usage["input_tokens"], usage["output_tokens"]],
            "async": asyncio.run(again()).content,
        }
    )
)
