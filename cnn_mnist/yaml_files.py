"""Reads YAML that anybody may have written, without running code from it or running out of memory."""

import math
from typing import Any

from cnn_mnist.errors import UserError

_MOST_NODES = 100_000
"""Of a YAML file; the longest of ours has 200."""


def load_yaml(content: bytes | str) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: Its aliases multiply.
        yaml.YAMLError: It is no YAML.
    """
    import yaml

    check_aliases(content)
    return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check_aliases(content: bytes | str) -> None:
    """Refuses YAML whose aliases multiply: whatever walks such a one finds no end.

    Raises:
        UserError: They do.
        yaml.YAMLError: It is no YAML.
    """
    import yaml

    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # of a node within itself
            inner = node.value if isinstance(node.value, list) else []
            parts = (part for entry in inner for part in (entry if isinstance(entry, tuple) else [entry]))
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    root = yaml.compose(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if root is not None and size(root) > _MOST_NODES:
        raise UserError(f"expected YAML of {_MOST_NODES:,} values at most, got more from aliases; write them out")
