"""Replacements for parts of kfp.local; the docstring of pipelines/kfp_local.py lists the bugs, its tests try each."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from kfp import dsl
from kfp.local import cache


@contextlib.contextmanager
def redirect_output(log: IO[str]) -> Iterator[None]:
    """Send the output, log and warnings of kfp.local to a file."""
    root = logging.getLogger()
    # Items of a loop run in threads, and each puts back the handlers and the level that it found: another's, at times.
    handlers, level = root.handlers[:], root.level
    root.addHandler(logging.StreamHandler(log))
    try:
        with contextlib.redirect_stdout(log), warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=log)
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def replace_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put a value in the place of an attribute of a class or module, for the duration of the block."""
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def with_files_of_metrics(put: Callable) -> Callable:
    """`LocalCache.put` that first makes the empty file that the cache looks for beside metrics."""

    def put_with_files(store: cache.LocalCache, key: str, outputs: dict[str, Any]) -> None:
        for artifact in outputs.values():
            if isinstance(artifact, (dsl.Metrics, dsl.ClassificationMetrics)):
                Path(artifact.uri).touch()
        put(store, key, outputs)

    return put_with_files


def with_named_outputs(find: Callable) -> Callable:
    """`_resolve_pipeline_channel` that also finds an output by its name, as `dsl.If` refers to it."""

    def find_channel(channel: str, store: Any) -> Any:
        name = channel.removeprefix("pipelinechannel--")
        for task, outputs in store._task_output_data.items():
            for key, value in outputs.items():
                if f"{task}-{key}" == name:
                    return value
        return find(channel, store)

    return find_channel
