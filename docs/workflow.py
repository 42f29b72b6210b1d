"""The workflow figure of the README: from source images to a verdict."""

from dataclasses import dataclass

from svg import PLAIN, REAL, SYNTHETIC, VERDICT, Figure

COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 196, 88, 176, 56, 4


@dataclass(frozen=True)
class Step:
    """A box of the figure.

    Attributes:
        column: 0-4, from the left.
        row: 0-4, from the top.
        colour: Kind of images that the step uses.
        verb: Verb of `regan`, or another title if `is_verb` is false.
        says: What the step does, in a few words.
        is_verb: Whether `verb` is a verb of `regan`.
    """

    column: int
    row: int
    colour: str
    verb: str
    says: str
    is_verb: bool = True

    @property
    def x(self) -> float:
        """Left edge, pixels."""
        return MARGIN + self.column * COLUMN

    @property
    def y(self) -> float:
        """Upper edge, pixels."""
        return MARGIN + self.row * ROW


STEPS = {
    "source": Step(0, 0, PLAIN, "Your images", "one folder per class", is_verb=False),
    "prepare": Step(1, 0, REAL, "prepare_images", "split by group"),
    "gan": Step(2, 0, REAL, "train_gan", "train StyleGAN2"),
    "select": Step(3, 0, SYNTHETIC, "select_snapshot", "smallest distance"),
    "generate": Step(4, 0, SYNTHETIC, "generate_images", "one image per seed"),
    "teacher": Step(1, 1, REAL, "train_classifier", "teacher: real images"),
    "filter": Step(3, 1, SYNTHETIC, "filter_images", "teacher confirms class"),
    "audit": Step(2, 2, VERDICT, "audit_images", "distance, memorisation"),
    "student": Step(3, 2, SYNTHETIC, "train_classifier", "student: filtered"),
    "control": Step(4, 2, SYNTHETIC, "train_classifier", "control: unfiltered"),
    "test_teacher": Step(1, 3, VERDICT, "evaluate_classifier", "on the real test set"),
    "test_student": Step(3, 3, VERDICT, "evaluate_classifier", "on the same test set"),
    "test_control": Step(4, 3, VERDICT, "evaluate_classifier", "on the same test set"),
    "compare": Step(2, 4, VERDICT, "compare_classifiers", "within the margin?"),
    "verdict": Step(3, 4, PLAIN, "Verdict", "and report.html", is_verb=False),
    "publish": Step(4, 4, VERDICT, "publish_images", "if the audit passed"),
}
ARROWS = (
    ("source", "prepare"),
    ("prepare", "gan"),
    ("prepare", "teacher"),
    ("gan", "select"),
    ("select", "generate"),
    ("teacher", "filter"),
    ("generate", "filter"),
    ("generate", "control"),
    ("filter", "audit"),
    ("filter", "student"),
    ("teacher", "test_teacher"),
    ("student", "test_student"),
    ("control", "test_control"),
    ("audit", "compare"),
    ("test_teacher", "compare"),
    ("test_student", "compare"),
    ("test_control", "compare"),
    ("compare", "verdict"),
    ("verdict", "publish"),
)


def workflow() -> Figure:
    """The workflow as boxes and arrows."""
    figure = Figure(
        2 * MARGIN + 4 * COLUMN + WIDTH, 2 * MARGIN + 4 * ROW + HEIGHT, "Workflow: from labelled images to a verdict"
    )
    for start, end in ARROWS:
        figure.arrow(*_route(STEPS[start], STEPS[end]))
    for step in STEPS.values():
        figure.box(step.x, step.y, WIDTH, HEIGHT, step.colour, step.verb, step.says, mono=step.is_verb)
    for row, (colour, meaning) in enumerate(
        ((REAL, "uses real images"), (SYNTHETIC, "uses synthetic images"), (VERDICT, "evaluates"))
    ):
        y = MARGIN + 2 * ROW + 24 * row
        figure.box(MARGIN, y, 14, 14, colour)
        figure.text(MARGIN + 22, y + 11.5, meaning, anchor="start")
    return figure


def _route(start: Step, end: Step) -> list[tuple[float, float]]:
    """A straight line within a row or column; otherwise through the gap above the row of `end`."""
    middle, below = start.x + WIDTH / 2, start.y + HEIGHT
    if start.row == end.row:
        return [(start.x + WIDTH, start.y + HEIGHT / 2), (end.x, end.y + HEIGHT / 2)]
    if start.column == end.column:
        return [(middle, below), (middle, end.y)]
    gap = end.y - (ROW - HEIGHT) / 2
    return [(middle, below), (middle, gap), (end.x + WIDTH / 2, gap), (end.x + WIDTH / 2, end.y)]
