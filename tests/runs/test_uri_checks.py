import json
from dataclasses import replace

import pytest

from regan.runs.settings import settings_checks
from regan.runs.uri_checks import PROBE, previous_verdict, source_checks, write_check
from regan.storage import list_files, push_latest
from tests.servers.proxy import Fault

PLAN = settings_checks({"test_per_class": "5"})[1]


def test_a_source_is_counted_and_none_of_its_files_is_named(source):
    found = source_checks(str(source), PLAN)
    assert [check.ok for check in found.checks] == ["yes", "yes"]
    assert (found.num_images, len(found.version)) == (24, 16)
    assert "benign 12, malignant 12" in found.checks[1].found
    assert "Jane" not in str(found.checks)


def test_too_few_images_other_classes_and_no_source_fail(source, tmp_path):
    few = source_checks(str(source), settings_checks({"test_per_class": "11"})[1])
    assert few.checks[-1].ok == "no"
    assert "13 or more of each class" in few.checks[-1].expected
    assert "test_per_class to 3" in few.checks[-1].advice
    other = source_checks(str(source), replace(PLAN, negative_class="normal", positive_class="benign"))
    assert (other.checks[-1].ok, other.version != "") == ("no", True)
    absent = source_checks(str(tmp_path / "absent"), PLAN)
    assert (absent.checks[0].ok, absent.version) == ("no", "")


def test_with_wrong_settings_the_source_is_listed_all_the_same(source):
    found = source_checks(str(source), None)
    assert [check.name for check in found.checks] == ["source"]
    assert found.version


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_an_address_that_can_be_written_passes_again_and_again(kind, request, tmp_path):
    address = str(tmp_path / "bucket") if kind == "local" else request.getfixturevalue("s3")
    for _ in range(2):
        assert write_check("checkpoint_uri", f"{address}/state/").ok == "yes"
    assert [file.name for file in list_files(f"{address}/state/{PROBE}")] == ["probe"]


def test_an_address_that_may_only_be_read_fails_with_what_to_do(s3, s3_proxy):
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    s3_proxy.plan = lambda request: Fault(status=403, body=denied) if request.method in ("PUT", "POST") else None
    check = write_check("checkpoint_uri", f"{s3}/state")
    assert check.ok == "no"
    assert "Permission denied" in check.found
    assert "list, read, write" in check.advice


def test_a_store_that_gives_back_other_bytes_fails(s3, s3_proxy, monkeypatch):
    monkeypatch.setattr("regan.runs.uri_checks._ATTEMPTS", 1)
    s3_proxy.plan = lambda request: Fault(flip=True) if request.method == "GET" and "probe" in request.path else None
    assert write_check("report_uri", f"{s3}/report").ok == "no"


def test_a_store_that_says_yes_and_keeps_the_old_bytes_fails(s3, s3_proxy, monkeypatch):
    monkeypatch.setattr("regan.runs.uri_checks._ATTEMPTS", 1)
    assert write_check("report_uri", f"{s3}/report").ok == "yes"
    s3_proxy.plan = lambda request: Fault(status=200) if request.method == "PUT" else None
    check = write_check("report_uri", f"{s3}/report")
    assert (check.ok, "differ from those written" in check.found) == ("no", True)


def test_no_bucket_and_a_file_in_the_way_fail(s3, tmp_path):
    assert write_check("report_uri", "s3://no-such-bucket-anywhere/x").ok == "no"
    (tmp_path / "file").touch()
    assert write_check("report_uri", str(tmp_path / "file")).ok == "no"


@pytest.mark.parametrize("uri", ["minio://mlpipeline/v2/artifacts", "s3://bucket/root?region=x", "http://host/x"])
def test_what_only_the_launcher_can_reach_is_told_and_not_failed(uri):
    assert write_check("pipeline_root", uri).ok == "info"


@pytest.mark.parametrize("uri", ["ftp://host/x", "minio://mlpipeline/x"])
@pytest.mark.parametrize("name", ["report_uri", "report_release_uri", "gan_start_uri", "data_split_uri"])
def test_what_our_own_steps_cannot_reach_fails(name, uri):
    check = write_check(name, uri)
    assert (check.ok, uri in check.found) == ("no", True)


@pytest.mark.parametrize("uri", ["s3:///x", "gs:/bucket/x"])
def test_an_address_without_a_bucket_fails_and_no_folder_is_made_of_it(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    assert write_check("report_uri", uri).ok == "no"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_in_words():
    check = write_check("checkpoint_uri", "/proc/x")
    assert check.ok == "no"
    assert check.found.startswith("/proc/x: no file can be written there (")
    assert "Errno" not in check.found


def kept(tmp_path, content):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "verdict.json").write_text(content)
    push_latest(tmp_path / "report", str(tmp_path / "kept"), None)
    return str(tmp_path / "kept")


def test_the_previous_verdict_is_read_where_there_is_one(tmp_path):
    assert previous_verdict(str(tmp_path / "nothing")) == {}
    assert previous_verdict(kept(tmp_path, json.dumps({"run_key": "abc"}))) == {"run_key": "abc"}


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000, json.dumps({"a": "x" * 1_000_000})])
def test_what_is_no_verdict_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"verdict\.json"):
        previous_verdict(kept(tmp_path, content))
