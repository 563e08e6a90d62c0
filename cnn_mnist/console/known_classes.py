"""Restricts the classes that settings may name, because jsonargparse imports them and an import runs code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from jsonargparse import _actions, _typehints, set_parsing_settings

ALLOW = "--allow_classes"
"""Lets settings name any class or function; naming one imports it and runs its code."""

KNOWN = ("cnn_mnist", "lightning", "lightning_fabric", "pytorch_lightning", "torch", "torchmetrics")
"""Packages whose classes settings may always name."""

_decided: ContextVar[bool] = ContextVar("_decided", default=False)


@contextmanager
def known_classes_only(refuse: Callable[[str], NoReturn] | None) -> Iterator[None]:
    """Allows only class names of known packages, from files, environment variables and flags alike.

    Other packages are not imported. Functions and classes with ``__call__`` are refused as well, because some run what
    their arguments name: ``torch.hub.load``, ``torch.distributed.launcher.api.elastic_launch``.

    This replaces the private ``import_object``, with which jsonargparse resolves names. The public
    ``set_parsing_settings(import_path_allowlist=...)`` was tried. It allows all of these, and a setting that is a text
    or a class, such as ``trainer.profiler``, silently reads a refused class as a text.

    Args:
        refuse: Ends the process with a message; jsonargparse would swallow an exception for a setting of several
            types. None allows every name.
    """
    if _decided.get():  # a subcommand parses some of the same arguments again
        yield
        return
    original = _typehints.import_object

    def import_known(path: Any) -> Any:
        names = path.split(".") if isinstance(path, str) else []
        if len(names) < 2 or not all(name.isidentifier() for name in names):
            return original(path)  # raises, because no object has such a name
        if names[0] in KNOWN:
            found = original(path, check_path=False)  # the check would print a warning of several lines
            kind = found if isinstance(found, type) else type(found)
            called = any("__call__" in vars(base) for base in kind.__mro__)
            if not called and str(kind.__module__).partition(".")[0] in KNOWN:
                return found
        assert refuse
        came = f"{path}, whose code would run; add {ALLOW} if you trust the settings"
        return refuse(f"expected classes of {', '.join(KNOWN)}, got {came}")

    # Otherwise a class is instantiated for any setting of type Any, and some classes start processes.
    set_parsing_settings(instantiate_subclass_spec_in_any=False)
    modules: tuple[Any, ...] = (_actions, _typehints) if refuse else ()
    token = _decided.set(True)
    for module in modules:
        module.import_object = import_known
    try:
        yield
    finally:
        for module in modules:
            module.import_object = original
        _decided.reset(token)
