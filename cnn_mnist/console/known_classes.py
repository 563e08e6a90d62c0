"""Which classes settings may name: jsonargparse imports what is named, and an import runs code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from jsonargparse import _actions, _typehints, set_parsing_settings

ALLOW = "--allow_classes"
"""Lets settings name any class or function; naming one imports it, and so runs its code."""

KNOWN = ("cnn_mnist", "lightning", "lightning_fabric", "pytorch_lightning", "torch", "torchmetrics")
"""Packages whose classes settings may name without that flag."""

_decided: ContextVar[bool] = ContextVar("_decided", default=False)


@contextmanager
def known_classes_only(refuse: Callable[[str], NoReturn] | None) -> Iterator[None]:
    """Refuses every name but that of a class of a known package, whoever gives it: a file, a variable or a flag.

    A package that is not known is not imported. What can be called is refused too: a function runs what its arguments
    name (``torch.hub.load``), and so does an object that is called (``torch.distributed.launcher.api.elastic_launch``).

    This replaces the private ``import_object``, through which jsonargparse resolves names. Its public
    ``set_parsing_settings(import_path_allowlist=...)`` was tried: it lets all of that by, and a setting that is a text
    or a class, such as ``trainer.profiler``, silently takes a class that it refuses for a text.

    Args:
        refuse: Ends the process with a message; an exception would be swallowed where a setting has several types.
            None has nothing refused.
    """
    if _decided.get():  # the arguments of a subcommand are a part of those that were decided on
        yield
        return
    usual = _typehints.import_object

    def import_known(path: Any) -> Any:
        names = path.split(".") if isinstance(path, str) else []
        if len(names) < 2 or not all(name.isidentifier() for name in names):
            return usual(path)  # raises, since nothing can have that name
        if names[0] in KNOWN:
            found = usual(path, check_path=False)  # else it warns, in several lines, of what is refused here
            kind = found if isinstance(found, type) else type(found)
            called = any("__call__" in vars(base) for base in kind.__mro__)
            if not called and str(kind.__module__).partition(".")[0] in KNOWN:
                return found
        assert refuse
        return refuse(
            f"expected classes of {', '.join(KNOWN)}, got {path}, whose code would run; add {ALLOW} where you trust "
            "the file"
        )

    # Else a class would be made wherever any value may stand, and some start processes as they are made.
    set_parsing_settings(instantiate_subclass_spec_in_any=False)
    modules: tuple[Any, ...] = (_actions, _typehints) if refuse else ()
    token = _decided.set(True)
    for module in modules:
        module.import_object = import_known
    try:
        yield
    finally:
        for module in modules:
            module.import_object = usual
        _decided.reset(token)
