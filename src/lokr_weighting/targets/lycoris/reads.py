"""Which keys the installed LyCORIS reads, found in its source: it swallows all others in silence.

The source is parsed and not imported, so this takes no torch.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ENTRY = frozenset({"algo", "dim", "alpha", "use_tucker"})
"""What an entry says to LyCORIS itself, whatever the algorithm."""
NOT_IN_A_FILE = frozenset({"module", "kwargs"})
PARAMETER_OF = {
    "dora_wd": "weight_decompose",
    "wd_on_output": "wd_on_out",
}
"""A key at the top -> the algorithms' parameter that it becomes, where that has another name."""


@dataclass(frozen=True)
class Reads:
    """What LyCORIS reads.

    Attributes:
        top: keys beside the preset.
        preset: keys of the preset.
        algorithms: an algorithm's name -> the parameters that it reads.
    """

    top: frozenset[str]
    preset: frozenset[str]
    algorithms: dict[str, frozenset[str]]

    @property
    def of_algorithms(self) -> frozenset[str]:
        """Every parameter that some algorithm reads."""
        return frozenset().union(*self.algorithms.values())

    def entry(self, algorithm: str) -> frozenset[str]:
        """Keys of an entry with this algorithm."""
        return ENTRY | self.algorithms.get(algorithm, self.of_algorithms)


@cache
def installed_reads() -> Reads:
    """What the installed LyCORIS reads."""
    spec = find_spec("lycoris")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    wrapper = ast.parse((folder / "wrapper.py").read_text(encoding="utf-8"))
    create, apply = _function(wrapper, "create_lycoris"), _function(wrapper, "apply_preset")
    parameters: dict[str, frozenset[str]] = {}
    for file in sorted((folder / "modules").glob("*.py")):
        for each in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(each, ast.ClassDef):
                parameters[each.name] = _parameters(each)
    classes = dict(_dictionary(wrapper, "network_module_dict"))
    renamed = {key for key, _ in _dictionary(wrapper, "deprecated_arg_dict")}
    asked = {argument.arg for argument in create.args.args} | set(_got(create)) | renamed
    return Reads(
        frozenset(asked - NOT_IN_A_FILE),
        frozenset(_compared(apply)),
        {name: parameters.get(class_name, frozenset()) for name, class_name in classes.items()},
    )


def _function(tree: ast.AST, name: str) -> ast.FunctionDef:
    return next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name
    )


def _got(function: ast.FunctionDef) -> Iterator[str]:
    """The keys of `kwargs.get("key", ...)`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if node.func.attr == "get" and isinstance(first, ast.Constant):
                yield str(first.value)


def _compared(function: ast.FunctionDef) -> Iterator[str]:
    """The keys of `"key" in preset`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant):
            yield str(node.left.value)


def _dictionary(tree: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    """The items of a dictionary that the module assigns: constants -> names or constants."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Dict)
            and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)
        ):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                assert isinstance(key, ast.Constant)
                yield (
                    str(key.value),
                    value.id if isinstance(value, ast.Name) else ast.unparse(value),
                )


def _parameters(module: ast.ClassDef) -> frozenset[str]:
    """The parameters of a module's class that its making looks at."""
    made = next(
        (x for x in module.body if isinstance(x, ast.FunctionDef) and x.name == "__init__"), None
    )
    if made is None:
        return frozenset()
    named = {argument.arg for argument in made.args.args}
    return frozenset(
        node.id for node in ast.walk(made) if isinstance(node, ast.Name) and node.id in named
    )
