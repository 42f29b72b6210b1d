import signal
import subprocess
import sys

import pytest

from regan.artifacts.output_folder import atomic_folder, atomic_folders
from regan.common.errors import OutputError, OutputExistsError


def test_a_folder_appears_when_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "a").read_text() == "1"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_nothing_is_left_when_the_block_fails(tmp_path):
    with pytest.raises(IsADirectoryError), atomic_folder(tmp_path / "out") as folder:
        folder.write_text("a folder cannot be written as a file")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_refused_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(OutputExistsError, match="is not empty"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "mine").read_text() == "precious"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "out" / "a").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a directory"), atomic_folder(tmp_path / "file"):
        pass
    with (
        pytest.raises(OutputError, match="part of the path is a file"),
        atomic_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_a_place_where_nobody_can_write_is_named():
    with pytest.raises(OutputError, match="is not writable"), atomic_folder("/proc/regan/out"):
        pass


def test_several_folders_appear_together_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folders(tmp_path / "a", tmp_path / "b"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folders(tmp_path / "a", tmp_path / "b") as folders:
        for folder in folders:
            (folder / "x").write_text("")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_one_folder_for_two_outputs_is_refused(tmp_path):
    with (
        pytest.raises(OutputError, match="Two outputs are the same folder"),
        atomic_folders(tmp_path / "a", tmp_path / "a"),
    ):
        pass


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path):
    too_long = "x" * 300
    with pytest.raises(OutputError, match="is not writable"), atomic_folder(tmp_path / too_long / "out"):
        pass


def test_sigterm_leaves_nothing_behind(tmp_path):
    code = (
        "import sys, time; from regan.artifacts.output_folder import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'patient.png').write_text('')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
