"""The version of a task: a fingerprint of the code that decides which steps it asks for, and in which order.

Covered: the task's function, and by the names that its code mentions, from one to the next: functions and steps of the
same package, nested functions and lambdas included, `module.function` of modules of the package as well. A step counts
with its name. A task that is mentioned (a child) counts with its id: its runs have a version of their own.

Not covered: classes and their methods, values of constants, functions reached through containers or `getattr`, other
packages, and how a task or step is declared (retries, timeouts, queue): none of that changes which steps are asked for.

Comments, whitespace and docstrings change nothing: what is hashed is the syntax tree, spelled out.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from runs.sdk.step import Step

#: Functions of one fingerprint at most.
MAX_FUNCTIONS: Final = 1_000
_DECLARED_BY: Final = frozenset({"task", "step"})

#: Names of what makes a correct function take another path than its history tells, although the code is the same: the
#: number of the attempt, a clock that cuts steps off, threads that take turns as they like.
LOOSE: Final = frozenset(
    {
        "attempt",
        "is_replaying",
        "timeout",
        "timeout_at",
        "wait_for",
        "cancel",
        "move_on_after",
        "fail_after",
        "Thread",
        "ThreadPoolExecutor",
        "to_thread",
        "run_in_executor",
        "submit",
    }
)


class Fingerprint(NamedTuple):
    """Twelve hex digits, and whether the code mentions something of `LOOSE` outside of its steps."""

    version: str
    loose: bool


def fingerprint(function: Callable[..., Any]) -> Fingerprint:
    """Of a task's function. Call it once the function's module is loaded: it may mention what stands below it."""
    texts: set[str] = set()
    loose = False
    todo: list[tuple[Any, bool]] = [(function, False)]  # and whether it was reached by way of a step
    seen: set[tuple[int, bool]] = set()
    root = _root(function)
    while todo and len(seen) < MAX_FUNCTIONS:
        item, in_step = todo.pop()
        if (id(item), in_step) in seen:
            continue
        seen.add((id(item), in_step))
        if isinstance(item, Step):
            texts.add(f"step {item.name}")
            if _root(item.function) == root:
                texts |= set(_texts(item.function))
                todo += [(found, True) for found in _mentioned(item.function, root)]
        elif _is_task(item):
            texts.add(f"task {item.id}")
        elif isinstance(item, FunctionType) and (item is function or _root(item) == root):
            texts |= set(_texts(item))
            todo += [(found, in_step) for found in _mentioned(item, root)]
            loose = loose or (not in_step and not LOOSE.isdisjoint(_names(item.__code__)))
    digest = hashlib.sha256("\0".join(sorted(texts)).encode("utf-8", "surrogatepass"))
    return Fingerprint(digest.hexdigest()[:12], loose)


def _root(function: Any) -> str:
    return str(getattr(function, "__module__", None) or "").partition(".")[0]


def _is_task(item: Any) -> bool:
    from runs.sdk.task import Task  # which needs this module

    return isinstance(item, Task)


def _mentioned(function: Any, root: str) -> Iterator[Any]:
    """What the function's code refers to by name, as far as it can tell something about steps."""
    for part in _unwrapped(function):
        names = _names(part.__code__)
        modules = [value for name in names if isinstance(value := part.__globals__.get(name), ModuleType)]
        for space in [part.__globals__, *(vars(m) for m in modules if m.__name__.partition(".")[0] == root)]:
            yield from (space[name] for name in names if name in space)
        for cell in part.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not filled yet
                continue


def _unwrapped(function: Any) -> Iterator[FunctionType]:
    """The function, and those that its decorators have wrapped."""
    for _ in range(20):
        if isinstance(function, FunctionType):
            yield function
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return


def _names(code: CodeType) -> set[str]:
    """The names in a code object and in those nested in it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _texts(function: Any) -> Iterator[str]:
    for part in _unwrapped(function):
        yield f"{part.__qualname__}\n{_source(part) or _code(part.__code__)}"


def _source(function: FunctionType) -> str | None:
    """The function's syntax tree as text; None where its source cannot be had, or is no function by itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    top = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    top.decorator_list = [d for d in top.decorator_list if _name_of(d) not in _DECLARED_BY]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _is_doc(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _code(code: CodeType) -> str:
    """A code object as text, of the same Python the same."""
    parts = [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames), repr(code.co_freevars)]
    parts += [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return "\n".join(parts)
