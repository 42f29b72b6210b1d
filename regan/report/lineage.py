"""Roles in a history: the comparison, and the steps that led to each of the classifiers that it compares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from regan.artifacts.entries import (
    AuditImagesEntry,
    CompareClassifiersEntry,
    EvaluateClassifierEntry,
    FilterImagesEntry,
    GenerateImagesEntry,
    PrepareImagesEntry,
    PublishImagesEntry,
    SelectSnapshotEntry,
    TrainClassifierEntry,
    TrainGanEntry,
)
from regan.artifacts.entry import Entry
from regan.artifacts.history import Step
from regan.common.errors import WrongArtifactError

_MAKES_SYNTHETIC = (FilterImagesEntry.verb, GenerateImagesEntry.verb)


@dataclass(frozen=True)
class Arm:
    """One of the compared classifiers, and the steps that led to it.

    Attributes:
        role: `candidate`, `reference` or `control`.
        name: Its name in the report: student, teacher, control, candidate or reference.
        evaluation: The step that tested it; None where its history is not known.
        classifiers: The step that trained it, then those that trained what it started from.
        image_steps: The steps that made the images it was trained on in the last round.
    """

    role: str
    name: str
    evaluation: Step | None
    classifiers: tuple[Step, ...]
    image_steps: tuple[Step, ...]

    @property
    def classifier(self) -> Step | None:
        """The step that trained it."""
        return self.classifiers[0] if self.classifiers else None

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on synthetic images in the last round."""
        return any(step.verb in _MAKES_SYNTHETIC for step in self.image_steps)

    @cached_property
    def training(self) -> TrainClassifierEntry | None:
        """What the step that trained it wrote; None if its history is not known or cannot be read."""
        return TrainClassifierEntry.of_or_none(self.classifier) if self.classifier else None

    @cached_property
    def test(self) -> EvaluateClassifierEntry | None:
        """What the step that tested it wrote; None if its history is not known or cannot be read."""
        return EvaluateClassifierEntry.of_or_none(self.evaluation) if self.evaluation else None

    @property
    def filter_steps(self) -> tuple[Step, ...]:
        """The steps that chose its training images."""
        return tuple(step for step in self.image_steps if step.verb == FilterImagesEntry.verb)

    @cached_property
    def filters(self) -> tuple[FilterImagesEntry, ...]:
        """What these steps wrote, without those that cannot be read."""
        return tuple(entry for step in self.filter_steps if (entry := FilterImagesEntry.of_or_none(step)))


@dataclass(frozen=True)
class Lineage:
    """The comparison of a history and the steps around it, each group in the order of the work.

    Attributes:
        compare: The comparison that the report is about.
        candidate: The classifier under test.
        reference: The classifier that it is compared with.
        control: A classifier trained on unfiltered images; None where none was given.
        audit: The audit of the candidate's images; None where there is none.
        preparations: Steps that made image sets of real images.
        runs: Steps that trained the GANs.
        selections: Steps that chose a snapshot.
        generations: Steps that made the candidate's images (the control's where the candidate has none).
        release: The latest release; None before there is one.
    """

    compare: Step
    candidate: Arm
    reference: Arm
    control: Arm | None
    audit: Step | None
    preparations: tuple[Step, ...]
    runs: tuple[Step, ...]
    selections: tuple[Step, ...]
    generations: tuple[Step, ...]
    release: Step | None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Reference, candidate and, where there is one, control: the order of the report."""
        return tuple(arm for arm in (self.reference, self.candidate, self.control) if arm is not None)

    @cached_property
    def comparison(self) -> CompareClassifiersEntry:
        """What the comparison wrote."""
        return CompareClassifiersEntry.of(self.compare)

    @cached_property
    def audit_entry(self) -> AuditImagesEntry | None:
        """What the audit wrote; None if there is none, or it cannot be read."""
        return AuditImagesEntry.of_or_none(self.audit) if self.audit else None

    @property
    def audit_verdict(self) -> str | None:
        """The verdict of the audit; None if there is no audit.

        Raises:
            CorruptFileError: The verdict cannot be read. A page that leaves it out would look like one without copies.
        """
        if self.audit is None:
            return None
        entry = self.audit_entry
        return entry.verdict if entry else AuditImagesEntry.field(self.audit, "verdict")

    @property
    def making(self) -> tuple[Step, ...]:
        """Steps that made the synthetic images, from the GANs to the unfiltered images."""
        return (*self.runs, *self.selections, *self.generations)

    @classmethod
    def of(cls, steps: Mapping[str, Step]) -> "Lineage":
        """Find the comparison that was made last and follow its inputs.

        Args:
            steps: Every step by id, as `regan.artifacts.history.read_history` gives them.

        Raises:
            WrongArtifactError: No step of the history compared classifiers.
        """
        comparisons = _of_verb(steps.values(), CompareClassifiersEntry)
        if not comparisons:
            raise WrongArtifactError(
                "The history contains no comparison of classifiers, which a report needs. Received "
                f"{len(steps)} steps: {', '.join(steps) or 'none'}. Pass the folder that compare_classifiers wrote."
            )
        compare = comparisons[-1]
        evaluations = {role: next(iter(parents(steps, compare, role)), None) for role in compare.inputs}
        candidate, reference = arms(steps, evaluations.get("candidate"), evaluations.get("reference"))
        control = _arm(steps, evaluations["control"], "control", "control") if "control" in evaluations else None
        behind = ancestors(steps, [step for arm in (candidate, control) if arm for step in arm.image_steps])
        return cls(
            compare=compare,
            candidate=candidate,
            reference=reference,
            control=control,
            audit=_audit(steps, compare, candidate),
            preparations=_of_verb(steps.values(), PrepareImagesEntry),
            runs=_of_verb(behind, TrainGanEntry),
            selections=_of_verb(behind, SelectSnapshotEntry),
            generations=_generations(steps, candidate, control),
            release=next(iter(_of_verb(steps.values(), PublishImagesEntry)[::-1]), None),
        )


def arms(steps: Mapping[str, Step], candidate: Step | None, reference: Step | None) -> tuple[Arm, Arm]:
    """Candidate and reference, from the steps that evaluated them.

    They are called student and teacher where the first learned from synthetic images and the second from real ones.
    """
    first = _arm(steps, candidate, "candidate", "candidate")
    second = _arm(steps, reference, "reference", "reference")
    if first.synthetic and second.image_steps and not second.synthetic:
        return replace(first, name="student"), replace(second, name="teacher")
    return first, second


def parents(steps: Mapping[str, Step], step: Step, argument: str) -> tuple[Step, ...]:
    """The known steps that wrote what `step` was given as `argument`."""
    return tuple(steps[name] for name in step.inputs.get(argument, []) if name in steps)


def ancestors(steps: Mapping[str, Step], of: Iterable[Step]) -> tuple[Step, ...]:
    """The given steps and all that led to them, in the order of the work, each once."""
    found: dict[str, Step] = {}
    waiting = list(of)
    while waiting:
        step = waiting.pop()
        if step.id in found:
            continue
        found[step.id] = step
        waiting += [steps[name] for names in step.inputs.values() for name in names if name in steps]
    return tuple(sorted(found.values(), key=lambda step: (step.number, step.id)))


def _arm(steps: Mapping[str, Step], evaluation: Step | None, role: str, name: str) -> Arm:
    classifiers = _classifiers(steps, evaluation) if evaluation else ()
    image_steps = parents(steps, classifiers[0], "images") if classifiers else ()
    return Arm(role, name, evaluation, classifiers, image_steps)


def _classifiers(steps: Mapping[str, Step], evaluation: Step) -> tuple[Step, ...]:
    chain: list[Step] = []
    found = parents(steps, evaluation, "classifier")
    while found and found[0] not in chain:
        chain.append(found[0])
        found = parents(steps, found[0], "start")
    return tuple(chain)


def _audit(steps: Mapping[str, Step], compare: Step, candidate: Arm) -> Step | None:
    given = parents(steps, compare, "audit")
    if given:
        return given[0]
    images = {step.id for step in candidate.image_steps}
    about = [
        s for s in steps.values() if s.verb == AuditImagesEntry.verb and images & set(s.inputs.get("synthetic", []))
    ]
    return max(about, key=lambda step: step.number, default=None)


def _generations(steps: Mapping[str, Step], candidate: Arm, control: Arm | None) -> tuple[Step, ...]:
    for arm in (candidate, control):
        found = _of_verb(ancestors(steps, arm.image_steps), GenerateImagesEntry) if arm else ()
        if found:
            return found
    return ()


def _of_verb(steps: Iterable[Step], entry: type[Entry]) -> tuple[Step, ...]:
    return tuple(sorted((step for step in steps if step.verb == entry.verb), key=lambda step: (step.number, step.id)))
