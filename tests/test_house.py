"""The rules that the package is laid out by: floors, sizes, systems, public names."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import srkd

ROOT = Path(__file__).parents[1]
# Each imports, lazily or not, from those to its left and from itself.
FLOORS = [
    {"srkd", "errors", "files", "arguments", "terminal"},
    {"stores"},
    {"archives"},
    {"remote"},
    {"engines"},
    *(
        {name}
        for name in ("images", "video", "metrics", "models", "losses", "config", "degradation", "strategies")
    ),
    {"recipe"},
    *(
        {name}
        for name in ("runtimes", "weights", "data", "exports", "search", "upscaling", "training", "reports")
    ),
    *({name} for name in ("commands", "options", "cli", "__main__")),
]
LONGEST_FILE, LONGEST_FUNCTION = 350, 60
POSIX_MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {
    "os": "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK chown chroot fork forkpty getegid geteuid"
    " getgid getgroups getloadavg getpgid getpgrp getuid killpg lchown mkfifo mknod nice pread pwrite"
    " register_at_fork sched_getaffinity sched_setaffinity setsid statvfs sysconf uname wait3 wait4",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm"
    " pause pthread_kill pthread_sigmask setitimer sigwait",
    "time": "tzset",
    "socket": "AF_UNIX",
}
OPENERS = {"open", "Path", "listdir", "read_text", "read_bytes", "iterdir"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in python_files("srkd")}


# Floors


def walk_running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from walk_running(other)
            continue
        yield child
        yield from walk_running(child)


def find_imports(name: str, tree: ast.Module, package: bool) -> set[str]:
    """The modules of srkd that a module imports; of `from srkd.models import span`, the innermost."""
    found = set()
    for node in walk_running(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = name.split(".")[: None if package and node.level == 1 else -node.level + package]
            base = ".".join([*parents, node.module or ""]).strip(".") if node.level else node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= {one if one in MODULES else base for one in inner}
    return {one for one in found if one.partition(".")[0] == "srkd"} - {name}


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else "srkd"
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


IMPORTS = {
    name: find_imports(name, parse(path), path.name == "__init__.py") for name, path in MODULES.items()
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stands_on_the_floors_below(module):
    above = sorted(other for other in IMPORTS[module] if floor(other) > floor(module))
    assert not above, f"{module} imports from above: {', '.join(above)}"


def test_no_circles():
    # A package's own names come from its modules, which may import one another but not the package.
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail("circle: " + " -> ".join(error.args[1]))


def test_the_checker_sees_lazy_relative_and_typing_imports():
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from srkd import cli
def f():
    from . import base
    from ..errors import UsageError
    import srkd.files
    from srkd.models import span
"""
    found = find_imports("srkd.models.span2", ast.parse(source), package=False)
    assert found == {"srkd.models.base", "srkd.errors", "srkd.files", "srkd.models.span"}
    assert find_imports("srkd.losses", ast.parse("from .base import Loss"), True) == {"srkd.losses.base"}
    assert floor("srkd.commands.train") > floor("srkd.training.loop") > floor("srkd.errors") == floor("srkd")


# Systems


def is_guard(test: ast.expr) -> bool:
    return bool(re.search(r"sys\.platform|os\.name\b|platform\.system|hasattr\(", ast.unparse(test)))


# What a missing module, name or file raises.
RAISES = {
    "module": "ImportError|ModuleNotFoundError",
    "name": "AttributeError",
    "file": "OSError|FileNotFoundError",
}


def find_caught(node: ast.Try) -> set[str]:
    names = " ".join(ast.unparse(h.type) if h.type else "Exception" for h in node.handlers)
    return {kind for kind, errors in RAISES.items() if re.search(rf"\b({errors}|Exception)\b", names)}


def find_posix(node: ast.AST, caught: frozenset[str] = frozenset()) -> Iterator[str]:
    """What exists on POSIX alone and stands outside a guard, each with its line."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If | ast.IfExp) and is_guard(child.test):
            continue
        if isinstance(child, ast.BoolOp) and is_guard(child.values[0]):
            continue
        if isinstance(child, ast.Try):
            inside = ast.Module(child.body, [])
            yield from find_posix(inside, caught | find_caught(child))
            outside: list[ast.AST] = [*child.handlers, *child.orelse, *child.finalbody]
            for other in outside:
                yield from find_posix(other, caught)
            continue
        kind, names = posix_names(child)
        if kind not in caught:
            yield from (f"{getattr(child, 'lineno', 0)}: {name}" for name in names)
        yield from find_posix(child, caught)


def posix_names(node: ast.AST) -> tuple[str, list[str]]:
    """The names of one node that only POSIX has, and which kind of thing they are."""
    if isinstance(node, ast.Import):
        return "module", [a.name for a in node.names if a.name.partition(".")[0] in POSIX_MODULES]
    if isinstance(node, ast.ImportFrom) and not node.level:
        if node.module in POSIX_MODULES:
            return "module", [node.module]
        known = POSIX_NAMES.get(node.module or "", "").split()
        return "module", [f"{node.module}.{a.name}" for a in node.names if a.name in known]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        known = POSIX_NAMES.get(node.value.id, "").split()
        return "name", [f"{node.value.id}.{node.attr}"] if node.attr in known else []
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        paths = [word for word in words if re.match(r"/(proc|dev|sys|etc|tmp|var)\b", word)]
        return "file", [f"{name}({path!r})" for path in paths if name in OPENERS]
    return "", []


@pytest.mark.parametrize("path", python_files("srkd"), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_posix_only(path):
    found = list(find_posix(parse(path)))
    assert not found, f"{path.relative_to(ROOT)}: on POSIX alone: {'; '.join(found)}"


POSIX_LINES = [
    "import resource",
    "def f():\n    import fcntl",
    "from pwd import getpwuid",
    "import termios, json",
    "os.fork()",
    "cores = len(os.sched_getaffinity(0))",
    "print(os.getuid())",
    "os.uname()",
    "os.mkfifo('x')",
    "os.chown('x', 1, 1)",
    "from os import getloadavg",
    "os.kill(1, signal.SIGKILL)",
    "signal.signal(signal.SIGHUP, f)",
    "signal.signal(signal.SIGUSR1, f)",
    "signal.alarm(3)",
    "signal.pause()",
    "from signal import SIGALRM",
    "open('/proc/meminfo')",
    "Path('/dev/shm').exists()",
    "io.open('/proc/self/status')",
]


@pytest.mark.parametrize("line", POSIX_LINES)
def test_the_checker_catches(line):
    assert list(find_posix(ast.parse(line)))


@pytest.mark.parametrize(
    "source",
    [
        *(f"if sys.platform != 'win32':\n    {x}" for x in POSIX_LINES if "\n" not in x),
        "if hasattr(os, 'fork'):\n    os.fork()",
        "cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()",
        "hasattr(signal, 'SIGHUP') and signal.signal(signal.SIGHUP, f)",
        "try:\n    import resource\nexcept ImportError:\n    resource = None",
        "try:\n    os.getuid()\nexcept AttributeError:\n    pass",
        "try:\n    open('/proc/meminfo')\nexcept OSError:\n    pass",
        "signal.signal(signal.SIGTERM, f)\nos.cpu_count()\nopen('data/proc/x')\nopen(os.devnull)",
    ],
)
def test_the_checker_lets_pass(source):
    assert not list(find_posix(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import json\nexcept ImportError:\n    import resource",
        "try:\n    import resource\nexcept OSError:\n    pass",
        "try:\n    os.getuid()\nexcept OSError:\n    pass",
        "if verbose:\n    os.getuid()",
    ],
)
def test_a_guard_guards_what_it_catches(source):
    assert list(find_posix(ast.parse(source)))


def test_every_text_file_names_its_encoding():
    for path in python_files("srkd", "benchmarks"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("read_text", "write_text"):
                    named = len(node.args) > (node.func.attr == "write_text")
                    assert named or any(k.arg == "encoding" for k in node.keywords), f"{path}:{node.lineno}"
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open":
                binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in node.args[1:])
                assert binary or any(k.arg == "encoding" for k in node.keywords), f"{path}:{node.lineno}"


# Sizes


@pytest.mark.parametrize(
    "path", python_files("srkd", "benchmarks"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_and_functions_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{path.relative_to(ROOT)}: {lines} lines"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert count_lines(node) <= LONGEST_FUNCTION, f"{path}:{node.lineno}: {count_lines(node)} lines"


def count_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    text = node.body[0]
    return lines - ((text.end_lineno or text.lineno) - text.lineno + 1)


def test_a_docstring_is_not_counted():
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert count_lines(ast.parse(source).body[0]) == 2


@pytest.mark.parametrize(
    "path",
    [path for path in python_files("srkd", "benchmarks", "tests") if path != Path(__file__)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_is_silenced_has_a_reason(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.search(r"#\s*(type: ignore|noqa|pyright: ignore)(\[[^]]*\]|:\s*[A-Z0-9, ]+)?(.*)", line)
        if match:
            assert re.search(r"#\s*\w{2,}", match[3]), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


# Names


def test_the_version_stands_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"] and "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "srkd/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", srkd.__version__)


def stub_imports() -> list[tuple[str, str]]:
    tree = ast.parse((ROOT / "srkd" / "__init__.pyi").read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [(node.module or "", alias.name) for node in nodes for alias in node.names]


@pytest.mark.parametrize("name", [name for _, name in stub_imports()])
def test_a_public_name_exists_and_is_documented(name):
    value = getattr(srkd, name)
    assert callable(value) and inspect.getdoc(value)
    assert name in srkd.__all__ and name in dir(srkd)


def test_every_command_stands_in_the_stub():
    files = {path.stem for path in (ROOT / "srkd" / "commands").glob("*.py")} - {"__init__"}
    listed = {
        module.removeprefix("commands.") for module, _ in stub_imports() if module.startswith("commands.")
    }
    assert files == listed
