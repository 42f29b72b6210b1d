"""Studies, their reports and a browser to read them in."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from regan.artifacts.history import Step, read_history


def _beside(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


study = _beside("study")
browser = _beside("browser")


@pytest.fixture(scope="session")
def build_study() -> Callable[..., dict[str, Path]]:
    return study.build_study


@pytest.fixture(scope="session")
def build_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of the comparison of a fresh study; `leave_out` names inputs that are not given."""

    def build(leave_out: tuple[str, ...] = (), **options: object) -> Path:
        from regan.verbs.compare_classifiers import compare_classifiers

        root = tmp_path_factory.mktemp("study")
        made = study.build_study(root, **({"per_sheet": 4} | options))
        given = {"control": made["control_answers"], "audit": made["audit"]}
        optional = {name: path for name, path in given.items() if name not in leave_out}
        compare_classifiers(made["student_answers"], made["teacher_answers"], root / "report", **optional)
        return root / "report"

    return build


@pytest.fixture(scope="session")
def report(build_report: Callable[..., Path]) -> Path:
    """The report of the plain study."""
    return build_report(per_sheet=16)


@pytest.fixture(scope="session")
def steps(report: Path) -> dict[str, Step]:
    return read_history(report)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    with browser.chromium_page() as page:
        yield page
