"""The stages of a run: which steps each has, in which order. The pipeline takes the names of its steps from here.

The page on how a run ended reads this table in an image that holds neither the pipeline nor kfp. How the steps exchange
artifacts is wired in pipelines/steps.py; a test compares the order and the counts below with compiled pipelines.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Steps that do the same for the same purpose.

    Attributes:
        name: Name of the stage.
        verb: Verb of `regan` that its steps call.
        steps: Names of its steps in the smallest pipeline: one network, one round, no shards. A network for each class,
            further rounds and shards add steps with a longer name or with the same one.
        after: Stages whose outputs it needs; not those that these need themselves.
    """

    name: str
    verb: str
    steps: tuple[str, ...]
    after: tuple[str, ...] = ()


STAGES = (
    Stage("preflight", "preflight", ("preflight",)),
    Stage("prepare images", "prepare_images", ("prepare images",), after=("preflight",)),
    Stage("train teacher", "train_classifier", ("train teacher",), after=("prepare images",)),
    Stage("train GAN", "train_gan", ("train GAN",), after=("prepare images",)),
    Stage("select snapshot", "select_snapshot", ("select snapshot",), after=("train GAN",)),
    Stage("generate images", "generate_images", ("generate negative", "generate positive"), after=("select snapshot",)),
    Stage("filter images", "filter_images", ("filter", "draw control"), after=("generate images", "train teacher")),
    Stage("train student and control", "train_classifier", ("train student", "train control"), ("filter images",)),
    Stage(
        "test classifiers",
        "evaluate_classifier",
        ("test teacher", "test student", "test control"),
        after=("train student and control",),
    ),
    Stage("audit images", "audit_images", ("audit images",), after=("filter images",)),
    Stage("compare classifiers", "compare_classifiers", ("compare classifiers",), ("test classifiers", "audit images")),
    Stage("publish images", "publish_images", ("publish images",), after=("compare classifiers",)),
)


def least_steps(stage: Stage) -> int:
    """Steps of the stage's verb that have finished, at least, once the stage is complete.

    A history names the verb of its step, not the stage. Verbs of two stages are counted through both: the teacher is
    one classifier, and student and control make three.
    """
    until = STAGES[: STAGES.index(stage) + 1]
    return sum(len(earlier.steps) for earlier in until if earlier.verb == stage.verb)


def step_name(step: str, *details: str) -> str:
    """Name of a step as the graph shows it.

    Args:
        step: Name in the table, such as "train student".
        details: What tells it from others of the stage, such as the class or the round; empty texts are left out.

    Returns:
        Such as "train student 2".

    Raises:
        ValueError: The table has no such step.
    """
    if not any(step in stage.steps for stage in STAGES):
        raise ValueError(f"No stage of regan.runs.stages has a step {step!r}.")
    return " ".join((step, *filter(None, details)))
