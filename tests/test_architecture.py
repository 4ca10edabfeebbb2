"""Who may import whom, read off the source."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("toolchain", "export", "demo")


def modules():
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def imports(name):
    """Return the modules of ours that a module imports, anywhere in it, types' alone left out."""
    tree = ast.parse(MODULES[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts if parts <= MODULES.keys() else parts | {node.module}
    return {target for target in found if target in MODULES and target != name}


def test_every_module_is_read():
    assert "toolchain.search.study" in MODULES
    assert "toolchain.search.storage" in imports("toolchain.search.study")


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("export", ("toolchain", "demo")), ("demo", ("toolchain",)), ("toolchain", ("demo",))],
)
def test_layers(package, forbidden):
    wrong = [
        (name, target)
        for name in MODULES
        if name.partition(".")[0] == package
        for target in imports(name)
        if target.partition(".")[0] in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        # A genotype is data: nothing it is made of knows of training or searching.
        ("toolchain.networks", ("search", "training", "profiling", "datasets", "reporting", "cli")),
        ("toolchain.datasets", ("search", "training", "profiling", "reporting", "cli", "networks")),
        ("toolchain.settings", ("search", "training", "profiling", "reporting", "cli", "networks")),
        ("toolchain.training", ("reporting", "cli")),
        ("toolchain.search", ("reporting", "cli")),
        ("toolchain.reporting", ("cli",)),
    ],
)
def test_folders_of_the_toolchain(folder, forbidden):
    names = [f"toolchain.{name}" for name in forbidden]
    wrong = [
        (name, target)
        for name in MODULES
        if name.startswith(folder)
        for target in imports(name)
        if any(target == other or target.startswith(f"{other}.") for other in names)
    ]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour():
    circles = []

    def visit(name, path):
        if name in path:
            circles.append([*path[path.index(name) :], name])
            return
        if name not in done:
            for target in sorted(imports(name)):
                visit(target, [*path, name])
            done.add(name)

    done = set()
    for name in MODULES:
        visit(name, [])
    assert circles == []


def test_folders_of_export_form_no_circle():
    """A folder of them can be read, and used, without those that stand above it."""

    def folder(name):
        return ".".join(name.split(".")[:2])

    needs = {}
    for name in MODULES:
        if name.startswith("export."):
            targets = {folder(t) for t in imports(name) if t.startswith("export.")}
            needs.setdefault(folder(name), set()).update(targets - {folder(name)})
    order = []
    while needs:
        free = sorted(f for f, targets in needs.items() if targets <= set(order) | {"export"})
        assert free, f"a circle of {sorted(needs)}"
        order += free
        for f in free:
            del needs[f]
    assert {"export.system", "export.machine"} <= set(order)


RUNS_CODE = {
    "pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "yaml", "exec", "eval",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_is_read_can_run(name):
    """Files come from anywhere: what reads them must not be able to run what is in them."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            assert not RUNS_CODE & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in RUNS_CODE
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            assert called not in RUNS_CODE
            assert called != "torch.load" or given.get("weights_only") == "True"
            assert given.get("allow_pickle") in (None, "False")
            assert given.get("shell") in (None, "False")


def test_documents_are_read_in_one_place():
    """What bounds their size and depth is there; the rest reads what this program has written."""
    own = {
        "export.system.files", "export.machine.environment", "export.machine.processor",
        "export.benchmarking.energy", "export.benchmarking.footprint",
        "export.bundle.writing", "export.bundle.files.example",
        "export.checks.conformance.tensorrt", "export.runtimes.tensorrt.binding",
        "toolchain.reporting.standalone",
    }  # fmt: skip
    wrong = [
        (name, node.lineno)
        for name in MODULES.keys() - own
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func).endswith(".read_text")
            or ast.unparse(node.func) in ("json.load", "json.loads", "Image.open", "cv2.imread")
        )
        and name != "toolchain.datasets.image_files"
        and not name.startswith(("demo.", "export.kit."))
    ]
    assert wrong == []


def test_no_time_is_measured_by_a_clock_that_may_be_set_back():
    """The time of day is for dates alone."""
    found = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.time", "time.time_ns")
    }
    assert found == {"toolchain.search.study"}  # when a trial had ended
