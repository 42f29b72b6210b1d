import io
import json

import numpy as np
import pytest
from PIL import Image

from regan.artifacts.history import contact_sheet, last_step, read_history, write_step


def chain(tmp_path):
    """Prepare -> two branches -> one step that joins them."""
    folders = {name: tmp_path / name for name in ("prepared", "run", "classifier", "joined")}
    for folder in folders.values():
        folder.mkdir()
    write_step(folders["prepared"], "prepare_images", {}, settings={"seed": 0}, seconds=1)
    write_step(folders["run"], "train_gan", {"images": folders["prepared"]}, settings={"kimg": 1.0}, seconds=2)
    write_step(folders["classifier"], "train_classifier", {"images": folders["prepared"]}, settings={}, seconds=3)
    write_step(
        folders["joined"],
        "filter_images",
        {"negative": [folders["run"], folders["run"]], "classifier": folders["classifier"]},
        settings={},
        seconds=4,
    )
    return folders


def test_every_step_that_led_to_a_folder_is_there_once_and_in_order(tmp_path):
    steps = read_history(chain(tmp_path)["joined"])
    assert [step.verb for step in steps.values()] == [
        "prepare_images",
        "train_classifier",
        "train_gan",
        "filter_images",
    ]
    assert [step.number for step in steps.values()] == [1, 2, 2, 3]


def test_a_step_names_the_steps_that_wrote_its_inputs(tmp_path):
    folders = chain(tmp_path)
    joined = last_step(folders["joined"])
    run = last_step(folders["run"])
    assert joined.inputs == {"negative": [run.id, run.id], "classifier": [last_step(folders["classifier"]).id]}
    assert run.inputs["images"][0] in read_history(folders["joined"])


def test_a_folder_without_history_leads_nowhere(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "out").mkdir()
    step = write_step(tmp_path / "out", "train_gan", {"images": tmp_path / "plain"}, settings={}, seconds=0)
    assert (step.number, step.inputs) == (1, {"images": []})
    assert last_step(tmp_path / "plain") is None


def test_what_may_show_a_patient_lies_in_private_alone(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    step = write_step(
        tmp_path,
        "prepare_images",
        {},
        settings={},
        private_tables={"refused": [{"file": "Jane Doe.png"}]},
        private_thumbnails={"benign": image},
        seconds=0,
    )
    public = (tmp_path / "history" / f"{step.id}.json").read_text()
    assert "Jane" not in public
    assert json.loads(public)["thumbnails"] == {}
    assert step.private_tables["refused"][0]["file"] == "Jane Doe.png"
    assert step.private_thumbnails["benign"].startswith(b"\x89PNG")


def test_private_parts_travel_with_the_history_and_may_be_left_behind(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_step(first, "prepare_images", {}, settings={}, private_tables={"t": [{"a": 1}]}, seconds=0)
    write_step(second, "train_gan", {"images": first}, settings={}, seconds=0)
    assert next(iter(read_history(second).values())).private_tables == {"t": [{"a": 1}]}


def test_long_curves_are_thinned_and_keep_both_ends(tmp_path):
    curve = {"x": list(range(1000)), "y": np.arange(1000.0), "x_label": "kimg", "y_label": "loss"}
    kept = write_step(tmp_path, "train_gan", {}, settings={}, curves={"loss": curve}, seconds=0).curves["loss"]
    assert len(kept["x"]) == 200
    assert (kept["x"][0], kept["x"][-1], kept["y"][-1]) == (0, 999, 999.0)


def test_a_figure_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not finite"):
        write_step(tmp_path, "train_gan", {}, settings={}, figures={"auc": float("nan")}, seconds=0)


def test_pictures_are_made_smaller_until_they_fit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    step = write_step(tmp_path, "train_gan", {}, settings={}, thumbnails={"samples": noise}, seconds=0)
    assert (tmp_path / "history" / f"{step.id}.json").stat().st_size < 201_000
    assert Image.open(io.BytesIO(step.thumbnails["samples"])).size == (200, 200)


def test_more_pictures_than_fit_at_any_size_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="more than the 200000 of a step"):
        write_step(tmp_path, "train_gan", {}, settings={}, thumbnails={str(n): noise for n in range(9)}, seconds=0)
    assert not list((tmp_path / "history").glob("*.json"))


def test_a_contact_sheet_lays_images_out_in_rows():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2, 1), np.uint8)
    sheet = contact_sheet(images, columns=2)
    assert sheet[..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 2, 0, 0]]
