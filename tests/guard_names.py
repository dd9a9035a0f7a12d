"""The names of everything that the checks of the pipelines may find, read from their source.

A name that is put together, as in `mean_shift_lung`, is a pattern: `mean_shift_*`.
"""

import ast
import itertools
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MAKERS = {"Finding", "judged", "not_comparable"}  # what makes a finding; what passes a name on is found from there


def guard_names() -> set[str]:
    """Every name, or pattern of names, of a finding of the checks that ship."""
    found: set[str] = set()
    for path in itertools.chain((ROOT / "pipelines").glob("*.py"), (ROOT / "pipelines" / "steps").glob("*.py")):
        found |= _of_module(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _of_module(module: ast.Module) -> set[str]:
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    makers, found, known = set(_MAKERS), set[str](), set[str]()
    while makers - known:  # a function that hands a parameter on as a name makes findings, too
        known = set(makers)
        for function in functions:
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                named = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
                if named not in makers or function.name in _MAKERS:
                    continue
                name = next((one.value for one in call.keywords if one.arg == "name"), None)
                name = name or (call.args[0] if call.args else None)
                texts = _texts(function, name)
                found |= texts
                if isinstance(name, ast.Name) and name.id in _parameters(function) and not texts:
                    makers.add(function.name)
    return found


def _parameters(function: ast.FunctionDef) -> list[str]:
    return [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]


def _texts(function: ast.FunctionDef, name: ast.expr | None) -> set[str]:
    """The texts that an expression stands for, looked up in the function where it is a variable."""
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return {name.value}
    if isinstance(name, ast.JoinedStr):
        return {"".join(str(one.value) if isinstance(one, ast.Constant) else "*" for one in name.values)}
    if not isinstance(name, ast.Name):
        return set()
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node):
                if isinstance(target, ast.Name) and target.id == name.id and not isinstance(value, ast.Name):
                    found |= _texts(function, value)
    return found


def _pairs(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]
