"""Read a flow file: every scalar is text, as it stands there. What it means is decided by the field it is the value of.

YAML's own guesses depend on its version and surprise in both: `12:30` is 750, `0123` is 83, `yes` is a truth value, `on` too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from molmo_agents.errors import FlowError

MAX_BYTES = 1_000_000
_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


class _Loader(yaml.BaseLoader):
    """Scalars stay text; no tags; no key twice, since one of the two would be lost without a word."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag not in _PLAIN:
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {node.tag!r} has no meaning here", node.start_mark
            )
        return super().construct_object(node, deep)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            word = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not word or word in seen:
                problem = f"expected each word once and as text, got {word or 'a list'!r}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(word)
        return super().construct_mapping(node, deep)


def read_flow(path: str | Path) -> Any:
    """Return the tree of a flow file: dicts, lists and text.

    Raises:
        FlowError: No such file, too large, not YAML.
    """
    file = Path(path)
    if not file.is_file():
        raise FlowError(f"there is no flow file {file}: check the path")
    if file.stat().st_size > MAX_BYTES:
        raise FlowError(f"{file} has more than {MAX_BYTES:,} bytes: that is no flow")
    try:
        return yaml.load(file.read_text("utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise FlowError(f"{file} is not YAML: {' '.join(str(error).split())[:300]}") from error
