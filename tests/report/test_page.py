import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from regan.artifacts.entries import CompareClassifiersEntry
from regan.artifacts.entry import write_entry
from regan.artifacts.history import read_history
from regan.common.errors import CorruptFileError
from regan.report.page import render_report, write_report
from tests.entries import sample

HOSTILE = "<script>alert('x')</script>"
SECTIONS = ("images", "samples", "gan", "snapshot", "audit", "training", "test", "tests", "provenance")


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def html(steps):
    return render_report(steps)


@pytest.fixture(scope="module")
def text(html):
    return " ".join(" ".join(Tags(html).texts).split())


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(html):
    for tag, attributes in Tags(html).tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            assert re.match(r"#|data:", attributes.get(name) or "#"), (tag, name, attributes[name])


def test_the_content_policy_admits_the_one_style_sheet_and_pictures_in_the_page_only(html):
    policy = next(a["content"] for tag, a in Tags(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_the_verdict_is_one_sentence_before_all_else(html):
    first = re.search(r"<h1>(.*?)</h1>", html).group(1)
    assert first.startswith("The student is non-inferior to the teacher in AUC (")
    assert "−0." in first
    assert html.count("<h1>") == 1


def test_what_follows_the_verdict_is_told_below_it(build_report):
    html = render_report(read_history(build_report(per_sheet=1, student=1.0)))
    first = re.search(r"<h1>(.*?)</h1>", html).group(1)
    more = re.search(r'<p class="more">(.*?)</p>', html).group(1)
    assert first.endswith("the loss exceeds the declared margin of 0.05.")
    assert more.startswith("Sensitivity taken alone is inferior: the student misses")


def test_every_section_is_there_and_filled(html, text):
    for name in SECTIONS:
        assert f'<section id="{name}">' in html
        assert f'href="#{name}"' in html
    assert "not known" not in text
    assert "The history contains no" not in text
    assert "does not say" not in text


@pytest.mark.parametrize(
    "shown",
    [
        "Research use, not a medical device",
        "300 (150 malignant, 150 benign)",
        "non-inferiority margin: largest acceptable loss, set beforehand",
        "Trained on 640 real images",
        "Trained on 2,824 synthetic images, unfiltered",
        "same picture under both classes",
        "IMG_0433.png",
        "320 (301)",
        "61.0",
        "the snapshot at 20.0 kimg",
        "No synthetic image was found to be a copy of a training image.",
        "limit on share memorised; fidelity and diversity: see below",
        "Fréchet at 320 images",
        "Exact McNemar",
        "Tango score interval, mid-p McNemar",
        "AUC, non-inferiority within 0.05",
        "Student against control",
        "10 min",
        "optimizer.betas",
    ],
)
def test_the_page_says(text, shown):
    assert shown in text


def test_every_picture_has_words_for_those_who_cannot_see_it(html):
    pictures = [attributes for tag, attributes in Tags(html).tags if tag == "img"]
    assert len(pictures) == 11  # 4 sheets of each class, the GAN's samples, 2 of the audit
    assert all(picture["alt"] and picture["width"] and picture["height"] for picture in pictures)
    assert html.count('role="img"') == html.count("<svg ") == 12


def test_the_same_history_gives_the_same_bytes(steps, tmp_path):
    write_report(steps, tmp_path / "one.html")
    write_report(dict(reversed(steps.items())), tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_hostile_names_and_settings_are_shown_as_text(build_report):
    folder = build_report(per_sheet=1, classes=("benign", HOSTILE), refused_file='"><img src=x onerror=alert(1)>.png')
    steps = read_history(folder)
    name, step = next((n, s) for n, s in steps.items() if s.verb == "train_gan")
    settings = step.settings | {HOSTILE: "</style><script>alert(2)</script>", "label": HOSTILE}
    steps[name] = replace(step, settings=settings, versions={HOSTILE: HOSTILE})
    html = render_report(steps)
    page = Tags(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [tag for tag, attributes in page.tags if attributes.get("onerror") or attributes.get("src") == "x"]
    shown = "".join(page.texts)
    assert shown.count(HOSTILE) > 10
    assert '"><img src=x onerror=alert(1)>.png' in shown


def test_points_that_are_text_and_pictures_that_are_none_do_no_harm(steps):
    def spoiled(step):
        curves = {name: curve | {"x": [HOSTILE], "y": [HOSTILE]} for name, curve in step.curves.items()}
        pictures = dict.fromkeys(step.thumbnails, b"GIF89a<svg onload=alert(1)>")
        return replace(step, curves=curves, thumbnails=pictures)

    html = render_report({name: spoiled(step) for name, step in steps.items()})
    assert not {"script", "onload"} & {tag for tag, _ in Tags(html).tags}
    assert "This picture in the history is corrupt." in html
    assert "onload=alert" not in html


def spoil(steps, verb, part, key, value=None):
    """The same history, in which one key of the steps of a verb is missing or has another value."""
    return {
        name: replace(
            step, **{part: {k: v for k, v in getattr(step, part).items() if k != key} | ({key: value} if value else {})}
        )
        if step.verb == verb
        else step
        for name, step in steps.items()
    }


ILLUSTRATIONS = (
    ("prepare_images", "figures", "num_groups", "cannot be read, so that it is not shown here"),
    ("train_gan", "figures", "kimg", "cannot be read, so that it is not shown here"),
    ("select_snapshot", "tables", "distances", "cannot be read, so that it is not shown here"),
    ("generate_images", "settings", "label", "Generate synthetic images"),
    ("filter_images", "settings", "rule", "Trained on"),
    ("train_classifier", "figures", "num_epochs", "Its history is not known."),
    ("evaluate_classifier", "curves", "roc", "The history contains no ROC curves."),
    ("audit_images", "counts", "num_train", "its limits and figures are not known"),
)


@pytest.mark.parametrize("value", [None, ["<script>"]])
@pytest.mark.parametrize(("verb", "part", "key", "said"), ILLUSTRATIONS, ids=[row[0] for row in ILLUSTRATIONS])
def test_what_only_illustrates_is_left_out_with_a_warning_where_it_cannot_be_read(
    steps, caplog, verb, part, key, said, value
):
    html = render_report(spoil(steps, verb, part, key, value))
    assert said in html
    if (verb, value) != ("evaluate_classifier", None):  # a curve may be missing
        assert f"{part}.{key}" in caplog.text
    assert "is non-inferior to the teacher in AUC" in html


@pytest.mark.parametrize(
    ("verb", "part", "key"),
    [
        ("compare_classifiers", "settings", "verdict"),
        ("compare_classifiers", "figures", "lower"),
        ("audit_images", "settings", "verdict"),
    ],
)
def test_a_verdict_that_cannot_be_read_is_an_error(steps, verb, part, key):
    with pytest.raises(CorruptFileError, match=rf"of the history has no {part}\.{key}"):
        render_report(spoil(steps, verb, part, key))


def test_without_private_parts_no_picture_of_a_patient_and_no_name_is_left(steps, tmp_path):
    write_report(steps, tmp_path / "public.html", include_private=False)
    public = (tmp_path / "public.html").read_text()
    prepared = next(step for step in steps.values() if step.verb == "prepare_images")
    audited = next(step for step in steps.values() if step.verb == "audit_images")
    for png in (*prepared.private_thumbnails.values(), *audited.private_thumbnails.values()):
        assert base64.b64encode(png).decode()[60:160] not in public
    assert "IMG_0433.png" not in public
    assert "incoming/archive.zip" not in public
    assert "data:image/png" not in public  # before there is a release, no picture may be shown
    assert public.count("Other pictures stay within the institution") == 1
    write_report(steps, tmp_path / "private.html")
    assert "IMG_0433.png" in (tmp_path / "private.html").read_text()


def test_a_missing_control_and_a_missing_audit_are_said(build_report):
    html = render_report(read_history(build_report(per_sheet=1, leave_out=("control", "audit"))))
    # The audit is found by its images where the history holds it; here it does not.
    assert "There is no control" in html
    assert "There is no audit." in html
    assert html.count('<div class="card ') == 2


def test_two_classifiers_of_real_images_are_compared_without_synthetic_parts(steps, tmp_path):
    kept = ("01-", "02-train_classifier", "03-evaluate")
    real = {name: step for name, step in steps.items() if name.startswith(kept)}
    teacher = next(name for name in real if "evaluate" in name)
    compare = next(step for step in steps.values() if step.verb == "compare_classifiers")
    rows = {name: [r for r in rows if "control" not in str(r)] for name, rows in compare.tables.items()}
    inputs = {"candidate": [teacher], "reference": [teacher]}
    html = render_report(real | {compare.id: replace(compare, inputs=inputs, tables=rows)})
    assert "This comparison involves no synthetic images." in html
    assert "There is no control" not in html
    assert "<h3>Candidate</h3>" in html


def test_a_comparison_alone_makes_a_page_that_says_what_is_missing(tmp_path):
    entry = sample(CompareClassifiersEntry, tests=(), differences=(), measures=(), confusion=())
    write_entry(tmp_path, entry, {}, seconds=0)
    html = render_report(read_history(tmp_path))
    for said in (
        "The history contains no interval to draw.",
        "The history contains no preparation of the real images.",
        "The history contains no GAN training.",
        "There is no audit.",
        "The history contains no training of the classifiers.",
        "The history contains no ROC curves.",
        "The history contains no tests.",
    ):
        assert said in html


def test_a_failed_audit_and_a_filter_that_taught_the_student_stand_on_the_first_screen(build_report):
    html = render_report(read_history(build_report(per_sheet=1, control=0.1, audit_verdict="failed")))
    assert html.index("The filter, not the images, taught the student") < html.index('<div class="cards">')
    assert '<dd class="fail">failed' in html
    assert "these images must not be published" in html


def test_licences_of_imported_weights_are_named(build_report):
    html = render_report(read_history(build_report(per_sheet=1, licence="Nvidia Source Code License-NC")))
    assert "Licences of imported weights" in html
    assert "Nvidia Source Code License-NC" in html
    assert html.count("Train a classifier: Terms of ImageNet.") == 1


# The rest looks at the page as a reader does.


def opened(chromium, report, width):
    chromium.messages.clear()
    chromium.requests.clear()
    chromium.open(report / "report.html", width, 800)
    return chromium


@pytest.mark.parametrize("width", [1280, 400])
def test_the_browser_reports_no_error_and_asks_for_nothing(chromium, report, width):
    page = opened(chromium, report, width)
    assert page.messages == []
    assert [r for r in page.requests if not r.startswith("data:")] == [(report / "report.html").resolve().as_uri()]


@pytest.mark.parametrize("width", [1280, 400, 320])
def test_nothing_runs_out_of_the_page_sideways(chromium, report, width):
    page = opened(chromium, report, width)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.value("document.documentElement.scrollWidth") == width
    wide = page.value(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg, .hidden') && "
        f"e.getBoundingClientRect().right > {width} + 0.5).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_the_first_screen_holds_verdict_aucs_and_what_they_rest_on(chromium, report):
    page = opened(chromium, report, 1280)
    bottoms = page.value(
        "Object.fromEntries(['h1', '.cards', '.ground'].map(s => "
        "[s, document.querySelector(s).getBoundingClientRect().bottom]))"
    )
    assert max(bottoms.values()) < 800, bottoms


def test_the_style_sheet_passes_the_policy_and_pictures_are_drawn(chromium, report):
    page = opened(chromium, report, 1280)
    assert page.value("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth") == "8px"
    assert page.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.value("[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().height > 100)")


def test_a_script_that_slipped_in_would_not_run(chromium, report):
    page = opened(chromium, report, 1280)
    page.value("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)")
    assert page.value("typeof window.ran") == "undefined"


def test_letters_stay_legible_on_a_telephone(chromium, report):
    page = opened(chromium, report, 400)
    sizes = page.value(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width * 11)"
    )
    assert min(sizes) > 8.5
    small = page.value(
        "Math.min(...[...document.querySelectorAll('main *')].filter(e => !e.closest('svg'))"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert small >= 13


def test_nothing_runs_off_the_paper(chromium, report):
    chromium.call("Emulation.setEmulatedMedia", media="print")
    try:
        page = opened(chromium, report, 690)  # A4 less its margins, in CSS pixels
        assert page.value("document.documentElement.scrollWidth") == 690
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")


def test_the_page_prints(chromium, report, tmp_path):
    opened(chromium, report, 1280).pdf(tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 20


def test_the_report_is_small_enough_to_send(report):
    assert (report / "report.html").stat().st_size < 1_500_000
    assert json.loads((report / "comparison.json").read_text())["verdict"] == "non-inferior"
