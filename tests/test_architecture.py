"""The dependency rule of the architecture, read from the imports, those inside functions too."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("regan", "components", "pipelines")
FRAMEWORKS = {"tensorflow", "jax", "torch"}

# Every import runs downward in this table. Rooms of one level do not know each other.
LEVELS = (
    {"pipelines"},
    {"components", "regan.cli"},
    {"regan"},  # the package's face
    {"regan.verbs"},
    {"regan.quality", "regan.nvidia", "regan.runs"},
    {"regan.gan", "regan.classifier"},
    {"regan.training", "regan.preparation"},
    {"regan.storage", "regan.report"},
    {"regan.artifacts", "regan.statistics", "regan.backend"},
    {"regan.common"},
)
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def files() -> list[Path]:
    return sorted(path for top in PACKAGES for path in (ROOT / top).rglob("*.py"))


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in files()}


def room(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "regan" else parts[0]


@functools.cache
def imported(path: Path) -> set[str]:
    """Modules that a file imports; of `from package import name`, `package.name` where that is a module of ours."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & MODULES.keys()) or {node.module}
    return names


def ours(name: str) -> set[str]:
    return imported(MODULES[name]) & MODULES.keys()


def cycle_through(start: str, imports: dict[str, set[str]]) -> list[str]:
    """The shortest way from a module back to itself; empty where there is none."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop(0)
        for following in sorted(imports[way[-1]]):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def test_every_room_has_a_level():
    assert {room(name) for name in MODULES} == LEVEL.keys()


def test_every_folder_of_code_is_a_package():
    # A folder without `__init__.py` imports all the same, but tools that look for packages pass it over.
    folders = {path.parent for path in files()}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downward(name):
    for target in ours(name):
        inside = room(target) == room(name)
        assert inside or LEVEL[room(target)] > LEVEL[room(name)], f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_no_file_imports_itself_by_way_of_others(name):
    # A package's own __init__ is loaded before each of its files, but these name it in no import.
    way = cycle_through(name, {other: ours(other) for other in MODULES})
    assert not way, " imports ".join(way)


@pytest.mark.parametrize("name", MODULES)
def test_only_the_backend_names_a_framework_and_regan_never_kfp(name):
    tops = {target.split(".")[0] for target in imported(MODULES[name])}
    if room(name) != "regan.backend":
        assert not tops & FRAMEWORKS
    if name.startswith("regan"):
        assert "kfp" not in tops
