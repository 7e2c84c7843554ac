"""Imports go one way: from what runs and shows to what is read and defined; never in a circle."""

import ast
from collections import defaultdict
from pathlib import Path

import seqmodel

PACKAGE = Path(seqmodel.__file__).parent

# rooms and modules by floor, the lowest first; a module imports from its own floor and those below
FLOORS = (
    ("heavy",),
    ("seqmodel", "errors", "moved", "terminal", "job.agent"),
    ("extras", "files", "formats", "rng", "webpage"),
    ("hparam",),
    ("dataset.seq",),
    ("dataset.interval",),
    ("dataset.label", "dataset.batch"),
    ("dataset",),
    ("model",),
    ("task",),
    ("record",),
    ("training",),
    ("infer",),
    ("trust",),
    ("trials",),
    ("run",),
    ("job.script",),
    ("job",),
    ("job.results",),
    ("job.search",),
    ("report",),
    ("cli",),
    ("__main__", "light"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# an import inside a function may go up where the higher room is what the caller asked for
ASKED_FOR = {
    ("job", "job.results"),  # job.results(), and advice at submit
    ("run", "cli.infer"),  # --mode=predict is the verb
    ("infer", "trust"),  # seqmodel.train prints the audit line of a run
}
SHIMS = {"checkpoint", "trainer", "run_folder", "hparam.run", "job.search_space"}
SHIMS |= {"dataset.alphabet"}


def modules():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").rstrip(".")
        if name not in SHIMS:
            found[name or "seqmodel"] = path
    return found


MODULES = modules()


def room(module):
    """The room of a module: the longest of FLOORS that its name begins with."""
    while module and module not in FLOOR:
        module = module.rpartition(".")[0]
    return module


def imports(path):
    """(module, when it is imported) of all modules of the package that a file imports.

    When: "import" with the file, "call" in a function, "never" for a checker of types alone.
    """
    found = []

    def visit(node, when):
        for child in ast.iter_child_nodes(node):
            names = []
            if isinstance(child, ast.Import):
                names = [x.name for x in child.names]
            elif isinstance(child, ast.ImportFrom):
                names = [f"{child.module}.{x.name}" for x in child.names]
            ours = (name for name in names if name.split(".")[0] == "seqmodel")
            found.extend((target(name), when) for name in ours)
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, "never" if typing else "call" if inside and when == "import" else when)

    visit(ast.parse(path.read_text()), "import")
    return found


def target(name):
    """The module that an import of `name` is of; `name` may be something in it."""
    name = name.partition(".")[2]
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "seqmodel"


ARROWS = {
    (module, other, when)
    for module, path in MODULES.items()
    for other, when in imports(path)
    if module != other
}


def test_every_module_has_a_floor():
    assert [x for x in MODULES if not room(x)] == []


def test_no_import_goes_up():
    up = {
        (a, b)
        for a, b, when in ARROWS
        if FLOOR[room(a)] < FLOOR[room(b)]
        and (when == "import" or not {(a, b), (room(a), room(b))} & ASKED_FOR)
    }
    assert up == set()


def test_rooms_of_one_floor_do_not_import_each_other():
    across = {
        (a, b)
        for a, b, _ in ARROWS
        if FLOOR[room(a)] == FLOOR[room(b)] and room(a) != room(b) and "seqmodel" not in (a, b)
    }
    assert across <= {("files", "errors")}


def reached(module, graph):
    """Modules that are imported by `module`, by those, and so on."""
    found, left = set(), [module]
    while left:
        new = graph[left.pop()] - found
        found |= new
        left += new
    return found


def test_no_imports_go_in_a_circle_through_those_in_functions():
    graph = defaultdict(set)
    for a, b, when in ARROWS:
        if when != "never":
            graph[a].add(b)
    assert {module for module in MODULES if module in reached(module, graph)} == set()


def test_no_imports_go_in_a_circle():
    graph = defaultdict(set)
    for a, b, when in ARROWS:
        if when == "import":
            graph[a].add(b)
    done = set()

    def walk(module, path):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                walk(other, [*path, module])
            done.add(module)

    for module in sorted(MODULES):
        walk(module, [])
    assert done == set(MODULES)
