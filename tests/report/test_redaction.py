from regan.report.redaction import LEFT_OUT, public_settings, without_private


def test_paths_and_addresses_are_left_out_wherever_they_stand():
    settings = {
        "source": "Mustermann",
        "images": ["gs://hospital/patients", "C:\\scans"],
        "recipe": {"start": "/data/Mustermann", "rate": 0.1},
        "features": "MobileNet:/weights/file.h5",
    }
    assert public_settings(settings) == {
        "source": LEFT_OUT,
        "images": [LEFT_OUT, LEFT_OUT],
        "recipe": {"start": LEFT_OUT, "rate": 0.1},
        "features": LEFT_OUT,
    }


def test_what_is_no_place_stays():
    settings = {"features": "radiomic", "source": "", "images": 300, "classifier": "ab" * 32, "licence": "https://a/b"}
    assert public_settings(settings) == settings


def test_what_speaks_of_the_patients_of_one_place_is_dropped():
    settings = {"data_version": "Mustermann's visit", "test_set": "ab" * 32, "last_verdict": {"n": 1}, "margin": 0.05}
    assert public_settings(settings) == {"margin": 0.05}


def test_pictures_and_tables_of_patients_are_dropped(steps):
    prepared = next(step for step in steps.values() if step.verb == "prepare_images")
    assert prepared.private_thumbnails
    public = without_private(steps)[prepared.id]
    assert public.private_thumbnails == {}
    assert public.private_tables == {}
    assert not any(step.thumbnails for step in without_private(steps).values())
    assert public.tables == prepared.tables
