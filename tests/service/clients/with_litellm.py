"""litellm against a server: URL TASK. Prints what it returns as JSON."""

import json
import sys

import litellm

url, task = sys.argv[1], json.loads(sys.argv[2])
options = {"api_base": url + "/v1", "api_key": "s3cret", "timeout": 30, "num_retries": 0}
messages = task["messages"]
whole = litellm.completion(model="openai/gpt-4o", messages=messages, max_tokens=300, **options)
pieces = litellm.completion(
    model="openai/gpt-4o",
    messages=messages,
    stream=True,
    stream_options={"include_usage": True},
    **options,
)
streamed, usage = "", None
for chunk in pieces:
    if chunk.choices:
        streamed += chunk.choices[0].delta.content or ""
    usage = getattr(chunk, "usage", None) or usage
print(
    json.dumps(
        {
            "text": whole.choices[0].message.content,
            "reason": whole.choices[0].finish_reason,
            "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
            "streamed": streamed,
            "stream_usage": [usage.prompt_tokens, usage.completion_tokens],
        }
    )
)
