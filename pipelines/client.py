"""Send the pipeline to a Kubeflow Pipelines server: one run now, or a schedule of runs."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.connection import ENDPOINT, Server, connect, explain_errors, message_of, page_url
from pipelines.cron import check_cron, parse_time
from pipelines.job import Job, add_graph, graph_of, package, parameters, pipeline_yaml, settings_in, two_classes
from pipelines.parameters import PRESETS
from regan.common.errors import RequestRefusedError, SettingError, with_code

if TYPE_CHECKING:
    from kfp.client import Client

_PAGE = 100


@dataclass(frozen=True)
class Submission:
    """A run or schedule on the server: its id, and the URL of its page in the UI."""

    id: str
    url: str


def submit(server: Server, job: Job) -> Submission:
    """Start one run.

    Args:
        server: The server to run it on.
        job: What to run.

    Returns:
        The run.

    Raises:
        SettingError: The server is a multi-user server, and no namespace is set.
        RequestRefusedError: The server refused the request.
        ServerAccessError: The server needs a token, or the account lacks a permission.
        ServerUnavailableError: Nothing answers, or something other than Kubeflow Pipelines.
    """
    with explain_errors(server), package(job) as path:
        client = connect(server)
        run = client.run_pipeline(job_name=job.name, **_common(client, server, job, path))
    return Submission(run.run_id, page_url(server, f"runs/details/{run.run_id}"))


def schedule(
    server: Server,
    job: Job,
    *,
    cron: str,
    start: datetime | None = None,
    end: datetime | None = None,
    replace: bool = False,
) -> Submission:
    """Start recurring runs, one at a time; of those that were due while one ran, only the latest is started.

    Args:
        server: The server to run them on.
        job: What to run.
        cron: Six fields, seconds first.
        start: When the schedule begins; None = now.
        end: When it ends; None = never.
        replace: Delete schedules of the same name, once this one exists.

    Returns:
        The schedule.

    Raises:
        SettingError: As for `submit`; or a schedule has this name, or the times are invalid.
        RequestRefusedError: As for `submit`.
        ServerAccessError: As for `submit`.
        ServerUnavailableError: As for `submit`.
    """
    cron = check_cron(cron)
    if start and end and end <= start:
        raise SettingError(f"--end {_rfc3339(end)} is not later than --start {_rfc3339(start)}.")
    with explain_errors(server), package(job) as path:
        client = connect(server)
        old = [found for found in _schedules(client, server) if found.display_name == job.name]
        if old and not replace:
            raise SettingError(
                f"A schedule named {job.name!r} exists: {_schedule_url(server, old[0].recurring_run_id)}. Set another "
                "name with --name, or replace it with --replace."
            )
        new = client.create_recurring_run(
            job_name=job.name,
            cron_expression=cron,
            start_time=_rfc3339(start),
            end_time=_rfc3339(end),
            max_concurrency=1,
            no_catchup=True,
            enabled=True,
            **_common(client, server, job, path),
        )
        sent = Submission(new.recurring_run_id, _schedule_url(server, new.recurring_run_id))
        for found in old:
            _delete(client, server, found.recurring_run_id, sent)
    return sent


def add_submit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `submit`.

    Args:
        commands: Commands of `python -m pipelines`.
    """
    parser = commands.add_parser("submit", help="start one run on a Kubeflow cluster")
    parser.add_argument("--name", default="", help="name of the run (default: experiment and time)")
    _add_job(parser)
    _add_server(parser)
    parser.set_defaults(run=_submit)


def add_schedule(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `schedule`.

    Args:
        commands: Commands of `python -m pipelines`.
    """
    parser = commands.add_parser("schedule", help="start recurring runs on a Kubeflow cluster, one at a time")
    parser.add_argument("--name", required=True, help="name of the schedule")
    parser.add_argument("--cron", required=True, metavar="FIELDS", help="six fields, seconds first: '0 0 2 * * SUN'")
    parser.add_argument("--start", default="", metavar="TIME", help="first time: 2027-01-31T02:00:00Z (default: now)")
    parser.add_argument("--end", default="", metavar="TIME", help="last time (default: none)")
    parser.add_argument("--replace", action="store_true", help="then delete older schedules of the same name")
    _add_job(parser)
    _add_server(parser)
    parser.set_defaults(run=_schedule)


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="URI", help="gs:// or s3:// URI, one folder for each class")
    parser.add_argument("--classes", default="", metavar="NEGATIVE,POSITIVE", help="folder names of the two classes")
    parser.add_argument("--preset", choices=PRESETS, default="config-e", help="sizes, lengths (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any pipeline parameter")
    parser.add_argument("--experiment", default="synthetic-training-set", help="made if missing (default: %(default)s)")
    parser.add_argument("--pipeline-root", default="", metavar="URI", help="of the artifacts (default: the server's)")
    parser.add_argument("--service-account", default="", metavar="NAME", help="of the pods (default: the server's)")
    parser.add_argument("--no-cache", action="store_true", help="run every step again, cached ones too")
    parser.add_argument("--pipeline-file", default="", metavar="YAML", help="compiled pipeline (default: compile now)")
    add_graph(parser)


def _add_server(parser: argparse.ArgumentParser) -> None:
    endpoint = os.environ.get(ENDPOINT, "")
    parser.add_argument("--endpoint", default=endpoint, metavar="URL", help=f"the server (default: ${ENDPOINT})")
    parser.add_argument("--namespace", default="", metavar="NAME", help="needed on a multi-user server")
    parser.add_argument("--token-file", default="", metavar="FILE", help="file with a bearer token")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="PEM file of the server's certificate authority")


def _submit(parsed: argparse.Namespace) -> int:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    name = parsed.name or f"{parsed.experiment} {now}"
    return _send("Run", parsed, lambda server: submit(server, _job(parsed, name)))


def _schedule(parsed: argparse.Namespace) -> int:
    def send(server: Server) -> Submission:
        cron = check_cron(parsed.cron)
        start, end = parse_time(parsed.start, "--start"), parse_time(parsed.end, "--end")
        job = _job(parsed, parsed.name)
        return schedule(server, job, cron=cron, start=start, end=end, replace=parsed.replace)

    return _send("Schedule", parsed, send)


def _send(what: str, parsed: argparse.Namespace, send: Callable[[Server], Submission]) -> int:
    # Its warning for each attempt to connect would hide our one line.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        submission = send(Server(parsed.endpoint, parsed.namespace, parsed.token_file, parsed.ca_file))
    except (ValueError, OSError) as error:
        sys.stdout.write(f"{with_code(error)}\n")
        return 1
    sys.stdout.write(f"{what} {submission.id}: {submission.url}\n")
    return 0


def _job(parsed: argparse.Namespace, name: str) -> Job:
    pipeline = pipeline_yaml(parsed.pipeline_file, **graph_of(parsed))
    values = parameters(
        pipeline,
        source=parsed.source,
        classes=two_classes(parsed.classes),
        preset=parsed.preset,
        settings=settings_in(parsed.set),
    )
    return Job(
        pipeline,
        values,
        experiment=parsed.experiment,
        name=name,
        service_account=parsed.service_account,
        pipeline_root=parsed.pipeline_root,
        cache=not parsed.no_cache,
    )


def _delete(client: "Client", server: Server, old: str, new: Submission) -> None:
    from kfp_server_api import ApiException

    try:
        client.delete_recurring_run(old)
    except ApiException as error:
        raise RequestRefusedError(
            f"The old schedule could not be deleted, and the new one ({new.url}) is active: both start runs. Delete "
            f"the old one by hand: {_schedule_url(server, old)}. The server's message: {message_of(error)}"
        ) from error


def _common(client: "Client", server: Server, job: Job, path: str) -> dict[str, Any]:
    experiment = client.create_experiment(job.experiment, namespace=server.namespace or None)
    return {
        "experiment_id": experiment.experiment_id,
        "pipeline_package_path": path,
        "params": dict(job.parameters),
        "pipeline_root": job.pipeline_root or None,
        "service_account": job.service_account or None,
    }


def _schedules(client: "Client", server: Server) -> Iterator[Any]:
    token = ""
    while True:
        namespace = server.namespace or client.get_user_namespace() or None
        page = client.list_recurring_runs(page_token=token, page_size=_PAGE, namespace=namespace)
        yield from page.recurring_runs or []
        token = page.next_page_token
        if not token:
            return


def _schedule_url(server: Server, schedule_id: str) -> str:
    return page_url(server, f"recurringrun/details/{schedule_id}")


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
