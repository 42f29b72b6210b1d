"""The dependency rule of the architecture, read from the imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> what it may import of the project, beside itself.
ALLOWED = {
    "regan.data": {"regan.progress", "regan.storage"},
    "regan.storage": {"regan.stores", "regan.progress"},
    "regan.stores": {"regan.progress"},
    "regan.progress": set(),
    "regan.statistics": set(),
    "regan.backend": set(),
    "regan.gan": {"regan.data", "regan.backend", "regan.storage", "regan.progress"},
    "regan.classifier": {"regan.data", "regan.backend", "regan.storage", "regan.progress"},
    "regan.quality": {"regan.data", "regan.classifier", "regan.progress"},
    "regan.report": {"regan.statistics", "regan.data"},
    "regan.verbs": {
        "regan.data",
        "regan.storage",
        "regan.progress",
        "regan.statistics",
        "regan.gan",
        "regan.classifier",
        "regan.quality",
        "regan.report",
        "regan.backend",
    },
    # Of regan.gan the preflight reads the configuration alone, which loads no framework.
    "regan.readiness": {"regan", "regan.data", "regan.storage", "regan.gan", "regan.classifier"},
    # Of regan.gan the import reads configuration and folder alone, which load no framework.
    "regan.nvidia": {"regan.data", "regan.gan"},
    "regan.outcome": {"regan.causes", "regan.storage"},
    "regan.causes": set(),
    "regan.cli": {"regan", "regan.data"},
    "regan": {"regan.verbs", "regan.data", "regan.readiness", "regan.outcome", "regan.nvidia"},
    "components": {"regan", "components"},
    "pipelines": {"components", "regan", "pipelines"},
}
FRAMEWORKS = {"tensorflow", "jax", "torch"}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "regan":
        return parts[0]
    if parts[1] == "__init__":
        return "regan"
    return ".".join(parts[:2])


def imported(path: Path) -> set[str]:
    """Dotted names of what a file imports; `from regan import backend` is `regan.backend`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "regan":
            names |= {f"regan.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def files() -> list[Path]:
    return sorted(p for top in ("regan", "components", "pipelines") for p in (ROOT / top).rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_points_back(path):
    own = room(path)
    allowed = ALLOWED[own] | {own}
    for name in imported(path):
        top = name.split(".")[0]
        if top not in ("regan", "components", "pipelines"):
            continue
        target = ".".join(name.split(".")[:2]) if top == "regan" else top
        assert target in allowed or (own in ("components", "pipelines") and top in allowed), f"{path} imports {name}"


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_backend_names_a_framework_and_regan_never_kfp(path):
    tops = {name.split(".")[0] for name in imported(path)}
    if room(path) != "regan.backend":
        assert not tops & FRAMEWORKS
    if room(path).startswith("regan"):
        assert "kfp" not in tops
