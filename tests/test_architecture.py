"""The shape of the house, read from the imports: floors point down, and each rule of the style has one place."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("autotune", "sovits_rt")

# Parts from the bottom up; a part is a module, or a package with everything in it. It imports lower floors only.
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "autotune.errors",
        "autotune.stats",
        "autotune.surrogate",
        "autotune.measure",
        "autotune.files",
        "autotune.windows",
    ),
    ("autotune.plain", "autotune.registry", "autotune.child", "autotune.reader"),
    ("autotune.machine",),
    ("autotune.devices", "autotune.knobs", "autotune.fingerprint", "autotune.subject", "autotune.duel"),
    ("autotune.probe", "autotune.profile", "autotune.decision", "autotune.search", "autotune.worker", "autotune.arena"),
    ("autotune.usage", "autotune.table"),
    ("autotune.bottleneck",),
    ("autotune.doctor", "autotune.examiner", "autotune.store", "autotune.record", "autotune.report", "autotune.finals"),
    ("autotune.folder", "autotune.markup", "autotune.grid", "autotune.replay"),
    ("autotune.tuner", "autotune.charts", "autotune.sharing"),
    ("autotune.verification", "autotune.page", "autotune.trust"),
    ("autotune",),
    ("sovits_rt", "sovits_rt.errors", "sovits_rt.versions", "sovits_rt.scenarios"),
    ("sovits_rt.types", "sovits_rt.schedule", "sovits_rt.stopwatch", "sovits_rt.memory", "sovits_rt.nn"),
    (
        "sovits_rt.text",
        "sovits_rt.audio",
        "sovits_rt.checkpoints",
        "sovits_rt.noise",
        "sovits_rt.limits",
        "sovits_rt.lanes",
        "sovits_rt.backends",
        "sovits_rt.cache",
    ),
    ("sovits_rt.settings", "sovits_rt.stages", "sovits_rt.quality", "sovits_rt.polyphones", "sovits_rt.voices"),
    ("sovits_rt.process", "sovits_rt.models", "sovits_rt.bundled", "sovits_rt.stats"),
    ("sovits_rt.overlap",),
    ("sovits_rt.engine", "sovits_rt.observer", "sovits_rt.export"),
    ("sovits_rt.rehearsal", "sovits_rt.evaluation", "sovits_rt.fleet"),
    ("sovits_rt.tuning",),
    ("sovits_rt.selection", "sovits_rt.rules"),
    ("sovits_rt.doctor",),
    ("sovits_rt.cli",),
    ("sovits_rt.__main__",),
)
HEAVY = {
    "torch",
    "optuna",
    "onnxruntime",
    "onnx",
    "transformers",
    "tokenizers",
    "jieba",
    "nltk",
    "pocketsphinx",
    "jiwer",
}
# Calls at import that would decide something for everyone who imports.
DECIDES_FOR_OTHERS = {
    "set_num_threads",
    "set_num_interop_threads",
    "manual_seed",
    "seed",
    "basicConfig",
    "mkdir",
    "makedirs",
    "putenv",
    "cpu_affinity",
    "sched_setaffinity",
    "simplefilter",
    "filterwarnings",
    "set_float32_matmul_precision",
    "setlocale",
    "print",
    "open",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"), str(path))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def part_of(module: str) -> str:
    """ "sovits_rt.nn.t2s" -> "sovits_rt.nn"."""
    return ".".join(module.split(".")[:2])


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Dotted names of the modules that these nodes themselves import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def ours(tree: ast.AST) -> set[str]:
    """Of a whole file, functions included."""
    return {name for name in imports(ast.walk(tree)) if name.split(".")[0] in PACKAGES}


def foreign(tree: ast.AST) -> set[str]:
    return {name.split(".")[0] for name in imports(ast.walk(tree))} - set(PACKAGES)


def below(*prefixes: str) -> list[str]:
    return [name for name in MODULES if any(name == each or name.startswith(f"{each}.") for each in prefixes)]


def executed_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below `node` that runs when the module is imported: no bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "__main__" in ast.unparse(child.test):
            continue
        yield child
        yield from executed_at_import(child)


def called(node: ast.Call) -> str:
    return ast.unparse(node.func).rsplit(".", 1)[-1]


def test_every_part_has_a_floor():
    assert {part_of(name) for name in MODULES} == set(FLOOR_OF)
    assert len(FLOOR_OF) == sum(len(parts) for parts in FLOORS), "a part is on two floors"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    part = part_of(module)
    for name in ours(MODULES[module]):
        target = part_of(name)
        assert target == part or FLOOR_OF[target] < FLOOR_OF[part], f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("package", ["autotune", "sovits_rt"])
def test_there_are_no_circles(package):
    """Inside a part too, counting what runs at import."""
    graph = {}
    for module in below(package):
        graph[module] = set(imports(executed_at_import(MODULES[module]))) & MODULES.keys() - {module}
    while graph:
        free = [module for module, targets in graph.items() if not targets & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for module in free:
            del graph[module]


@pytest.mark.parametrize("module", below("autotune"))
def test_autotune_knows_nothing_of_speech(module):
    assert not [name for name in ours(MODULES[module]) if name.startswith("sovits_rt")]
    assert "torch" not in foreign(MODULES[module]) or part_of(module) == "autotune.devices"


@pytest.mark.parametrize("module", below("sovits_rt.nn"))
def test_networks_import_torch_and_each_other(module):
    assert all(name.startswith("sovits_rt.nn") for name in ours(MODULES[module]))
    standard = {"collections", "dataclasses", "math", "typing", "functools"}
    assert foreign(MODULES[module]) <= {"torch", *standard}


@pytest.mark.parametrize("module", below("sovits_rt.text", "sovits_rt.types", "sovits_rt.schedule"))
def test_text_and_schedule_import_no_torch(module):
    assert not foreign(MODULES[module]) & {"torch", "optuna", "transformers", "tokenizers"}


@pytest.mark.parametrize("module", below("sovits_rt.text"))
def test_text_imports_only_itself_types_and_errors(module):
    allowed = ("sovits_rt.text", "sovits_rt.types", "sovits_rt.errors")
    assert all(name.startswith(allowed) for name in ours(MODULES[module]))


@pytest.mark.parametrize("module", below("sovits_rt.stages"))
def test_stages_do_not_import_each_other(module):
    """A stage is a file in stages/, or a folder with all its files."""
    stage = ".".join(module.split(".")[:3])
    others = [name for name in ours(MODULES[module]) if name.startswith("sovits_rt.stages.")]
    assert all(name == stage or name.startswith(f"{stage}.") for name in others)


def test_only_the_engine_joins_the_stages():
    """models builds the networks and wraps one of them for the frontend stage; it joins nothing."""
    joining = {
        module: {".".join(name.split(".")[:3]) for name in ours(tree) if name.startswith("sovits_rt.stages.")}
        for module, tree in MODULES.items()
        if not module.startswith("sovits_rt.stages")
    }
    assert {module for module, stages in joining.items() if len(stages) > 1} == {"sovits_rt.engine"}
    assert {module for module, stages in joining.items() if stages} == {"sovits_rt.engine", "sovits_rt.models"}


def test_nobody_imports_the_command_line():
    users = {module for module, tree in MODULES.items() if any(n.startswith("sovits_rt.cli") for n in ours(tree))}
    assert {part_of(module) for module in users} == {"sovits_rt.cli", "sovits_rt.__main__"}


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("optuna", {"autotune.search"}),
        ("click", {"sovits_rt.cli"}),
        ("transformers", set()),
        ("onnxruntime", {"sovits_rt.text", "sovits_rt.backends", "sovits_rt.export"}),
        ("onnx", {"sovits_rt.backends", "sovits_rt.export"}),
        ("soundfile", {"sovits_rt.audio"}),
        ("soxr", {"sovits_rt.audio"}),
        ("pocketsphinx", {"sovits_rt.evaluation"}),
        ("jiwer", {"sovits_rt.evaluation"}),
        ("pickle", set()),
    ],
)
def test_a_library_has_one_owner(library, owners):
    assert {part_of(module) for module, tree in MODULES.items() if library in foreign(tree)} <= owners


@pytest.mark.parametrize("module", MODULES)
def test_errors_are_named(module):
    """`except Exception` only where a crash is a result; a bare except nowhere."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{module}:{node.lineno} has a bare except"
            broad = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} & {"Exception"}
            assert not broad or module == "autotune.worker", f"{module}:{node.lineno} catches everything"


@pytest.mark.parametrize("module", MODULES)
def test_everything_that_is_swallowed_by_base_is_raised_again(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ExceptHandler) and node.type is not None and "BaseException" in ast.unparse(node.type):
            assert isinstance(node.body[-1], ast.Raise), f"{module}:{node.lineno} swallows even Ctrl-C"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("sovits_rt.cli")])
def test_nothing_prints(module):
    calls = [node for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


@pytest.mark.parametrize("module", MODULES)
def test_importing_does_nothing(module):
    for node in executed_at_import(MODULES[module]):
        if isinstance(node, ast.Call):
            assert called(node) not in DECIDES_FOR_OTHERS, f"{module}:{node.lineno} calls {called(node)} at import"
        targets = node.targets if isinstance(node, ast.Assign) else []
        assert not any("environ" in ast.unparse(target) for target in targets), f"{module} sets the environment"


@pytest.mark.parametrize("module", MODULES)
def test_the_process_is_changed_in_one_place(module):
    """Threads, affinity and this process's environment."""
    if module == "sovits_rt.process":
        return
    calls = {called(node) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)}
    changing = {"set_num_threads", "set_num_interop_threads", "sched_setaffinity", "putenv", "manual_seed"}
    assert not calls & changing
    changes = [ast.unparse(node) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)]
    assert not [each for each in changes if each.startswith(("os.environ.update", "os.environ.setdefault"))]


@pytest.mark.parametrize("module", below("autotune", "sovits_rt.settings", "sovits_rt.tuning", "sovits_rt.selection"))
def test_heavy_libraries_are_not_imported_early(module):
    """What resolves a profile must be light; the search runs later."""
    if module == "autotune.search":
        return
    assert not {name.split(".")[0] for name in imports(executed_at_import(MODULES[module]))} & HEAVY


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module):
    if not MODULES[module].body:
        return
    assert ast.get_docstring(MODULES[module]), f"{module} has no docstring"
