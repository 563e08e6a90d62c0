"""A layer of either framework as data: its class and arguments."""

from dataclasses import dataclass
from typing import Any

_DEFAULTS = {
    **dict.fromkeys(("stride", "strides", "dilation", "dilation_rate"), (1, 1)),
    **dict.fromkeys(("groups", "depth_multiplier"), 1),
    **dict.fromkeys(("bias", "use_bias", "affine"), True),
    "activation": None,
}


@dataclass(frozen=True)
class ModuleSpec:
    """One module of ``torch.nn`` or layer of ``keras.layers``.

    Attributes:
        name: Name of the module in its network.
        kind: Name of the class.
        arguments: All arguments by name.
        parts: Modules of an ``nn.Sequential``.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    parts: tuple["ModuleSpec", ...] = ()


def source_of(spec: ModuleSpec, **more: Any) -> str:
    """Returns the source code, ``Conv2d(in_channels=1, out_channels=32, kernel_size=3)``, without default arguments."""
    written = []
    for name, value in (spec.arguments | more).items():
        none = name == "padding" and value in ((0, 0), "valid")
        if not none and _DEFAULTS.get(name, ...) != value:
            short = value[0] if isinstance(value, tuple) and len(set(value)) == 1 and len(value) == 2 else value
            written.append(f"{name}={short!r}")
    return f"{spec.kind}({', '.join(written)})"


def number_of(name: str) -> int:
    """Returns the number in a layer's name: 2 for ``dropout2``."""
    return int(name.lstrip("abcdefghijklmnopqrstuvwxyz_"))
