"""Reads untrusted YAML without running its code or running out of memory."""

import math
from typing import Any

from cnn_mnist.errors import UserError

_MOST_NODES = 100_000
"""Limit for a YAML file; the project's longest has 200."""


def load_yaml(content: bytes | str) -> Any:
    """Parses YAML.

    Args:
        content: The text.

    Returns:
        Its value, of plain Python types.

    Raises:
        UserError: Its aliases expand to too many values.
        yaml.YAMLError: The text is not YAML.
    """
    import yaml

    check_aliases(content)
    return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check_aliases(content: bytes | str) -> None:
    """Refuses YAML whose aliases expand to too many values.

    Args:
        content: The text.

    Raises:
        UserError: It has, or expands to, more than 100,000 values.
        yaml.YAMLError: The text is not YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if any(count > 2 * _MOST_NODES for count, _ in enumerate(yaml.parse(content, loader))):  # before nodes are made
        raise UserError(f"expected YAML of at most {_MOST_NODES:,} values, got more")
    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # a node that contains itself
            inner = node.value if isinstance(node.value, list) else []
            parts = (part for entry in inner for part in (entry if isinstance(entry, tuple) else [entry]))
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    root = yaml.compose(content, loader)
    if root is not None and size(root) > _MOST_NODES:
        raise UserError(f"expected YAML of at most {_MOST_NODES:,} values, got more through aliases; write them out")
