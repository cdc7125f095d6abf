"""Doing something to a module right after it is imported, whoever imports it and when."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Hook = Callable[[ModuleType], None]


def after_import(hooks: Mapping[str, Hook]) -> None:
    """Call each hook with its module once that is imported, or at once if it is already.

    The order in which a program imports its modules stays its own.

    Args:
        hooks: a module's full name -> what to do with it.
    """
    for name in hooks.keys() & sys.modules.keys():
        hooks[name](sys.modules[name])
    waiting = {name: hook for name, hook in hooks.items() if name not in sys.modules}
    sys.meta_path.insert(0, _Watcher(waiting))


class _Watcher(importlib.abc.MetaPathFinder):
    """Finds watched modules as Python would, with a hook at the end of their execution."""

    def __init__(self, hooks: dict[str, Hook]) -> None:
        self.waiting = hooks

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        hook = self.waiting.pop(fullname, None)
        if hook is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            hook(module)

        spec.loader.exec_module = exec_module
        return spec
