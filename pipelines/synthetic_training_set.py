"""The pipeline: from labelled real images to a synthetic training set and a verdict on it."""

import contextlib
from collections.abc import Mapping

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineParameterChannel

from components import (
    audit_images,
    compare_classifiers,
    evaluate_classifier,
    explain_run,
    filter_image_shards,
    filter_images,
    generate_images,
    preflight,
    prepare_images,
    publish_images,
    select_snapshot,
    train_classifier,
    train_gan,
)
from pipelines.placement import Gpu, on_cpu, on_gpu

NAME = "synthetic-training-set"
MOST_SHARDS = 16  # of one class: Kubeflow's loops fail above (kubeflow/pipelines #12131)


def synthetic_training_set(
    *, conditional: bool = True, rounds: int = 1, generation_shards: int = 1
) -> dsl.base_component.BaseComponent:
    """Make the pipeline.

    The teacher is trained on real images, the student on synthetic images that the teacher agrees with, and the
    control on as many unfiltered ones: the filter can write the teacher's rule into worthless images, and only the
    control shows it. All three answer the same test images, once.

    Args:
        conditional: One class-conditional network for both classes; otherwise one network a class.
        rounds: How often student and control go on with new images; image i of class k (0 or 1) in round r (from 0)
            has seed first_seed + ((r * 2 + k) * per_round) + i.
        generation_shards: Steps among which the seeds of each class and round are divided, 1 to 16. Kubeflow does not
            retry steps of a loop, so that one is the default and makes no loop.

    Returns:
        The pipeline, ready to be compiled.

    Raises:
        ValueError: `rounds` or `generation_shards` is out of range.
    """
    if rounds < 1 or not 1 <= generation_shards <= MOST_SHARDS:
        raise ValueError(
            f"`rounds` must be 1 or more and `generation_shards` 1 to {MOST_SHARDS}. "
            f"Received rounds={rounds}, generation_shards={generation_shards}."
        )

    @dsl.pipeline(name=NAME)
    def pipeline(
        source_uri: str,
        negative_class: str = "",
        positive_class: str = "",
        data_version: str = "",
        data_unchanged: str = "stop",
        data_split_uri: str = "",
        data_size: int = 256,
        data_channels: int = 1,
        data_mask_pattern: str = "*_mask*",
        data_validation_fraction: float = 0.1,
        data_seed: int = 0,
        test_per_class: int = 150,
        gan_preset: str = "config-e",
        gan_kimg: float = 0.0,
        gan_keep_snapshots: int = 25,
        gan_augment: str = "mirror",
        gan_precision: str = "float32",
        gan_mapping_layers: int = 0,
        gan_start_uri: str = "",
        gan_seed: int = 0,
        gan_features: str = "radiomic",
        gan_selection_images: int = 2_000,
        gan_seeds: str = "1-25000",
        gan_truncation_psi: float = 1.6,
        classifier_backbone: str = "InceptionResNetV2",
        classifier_weights: str = "imagenet",
        classifier_recipe: str = "standard",
        classifier_epochs: int = 50,
        classifier_batch_size: int = 32,
        classifier_seed: int = 0,
        classifier_filter_rule: str = "agreement",
        classifier_filter_confidence: float = 0.9,
        classifier_images_per_class: int = 0,
        report_features: str = "radiomic",
        report_max_memorised: float = 0.01,
        report_endpoint: str = "auc",
        report_margin: float = 0.05,
        report_uri: str = "",
        report_release_uri: str = "",
        report_title: str = "",
        gpu_type: str = "nvidia.com/gpu",
        gpu_count: str = "1",
        gpu_count_gan: str = "1",
        gpu_node_selector: dict = {},  # noqa: B006
        gpu_tolerations: list = [],  # noqa: B006
        gpu_checkpoint_uri: str = "",
        gpu_checkpoint_minutes: float = 5.0,
    ):
        """Turn labelled real images into a synthetic training set, and say how good a classifier trained on it is.

        Args:
            source_uri: Folder, zip archive or gs:// or s3:// address with one folder of images for each class.
            negative_class: Class without the finding; empty = told by the source, where it has two classes.
            positive_class: Class with the finding that sensitivity counts; empty = the other class of the source.
            data_version: Any text that changes with the content of the source, so that the cache serves no old data;
                empty = made from the listing of the source.
            data_unchanged: "stop" = the run ends early when the source and every setting are those of the last verdict
                at `report_uri`; "run" = it does not.
            data_split_uri: Stable address where the split into training, validation and test is kept over runs, so
                that no test image ever becomes a training image; `gan_start_uri` needs it; empty = the split is made
                anew.
            data_size: Side of the square images in pixels, a power of two from 32.
            data_channels: 1 for grey, 3 for RGB.
            data_mask_pattern: Files whose name fits this pattern are lesion masks and are left out.
            data_validation_fraction: Share of the training images that go to validation, 0 to 1.
            data_seed: Seed of the split.
            test_per_class: Real images of each class that only the final evaluation sees.
            gan_preset: Row of the table of presets: "demo", "config-e" or "config-f".
            gan_kimg: Length of GAN training in thousands of real images shown; 0 = the preset's.
            gan_keep_snapshots: Snapshots kept at most.
            gan_augment: "none", "mirror" = real images are flipped left to right at random, or "ada" = adaptive
                augmentation besides, for a few thousand images or fewer.
            gan_precision: "float32", or "bfloat16" = GAN training in half precision, for GPUs that have units for it.
            gan_mapping_layers: Dense layers of the mapping network, such as those of an official network at
                `gan_start_uri`; 0 = the preset's.
            gan_start_uri: Stable address where released generators are kept and where GAN training starts from the last
                one; needs `data_split_uri`, because a split that is made anew tests with images that have trained
                the kept generator; empty = from random weights, and none is kept.
            gan_seed: Seed of GAN training.
            gan_features: Feature extractor that picks the snapshot: "radiomic" or a keras.applications network.
            gan_selection_images: Synthetic images made with each snapshot to pick one.
            gan_seeds: Latent seeds of the negative class, first and last; the positive class takes the next range.
            gan_truncation_psi: Spread of the latents: 0 = the average image, 1 = as trained, above 1 = wider.
            classifier_backbone: Name of a keras.applications network, or "small" for small images.
            classifier_weights: Weights that the backbone starts from: "imagenet", "none" for random ones, or the
                address of a .weights.h5 file.
            classifier_recipe: "standard", or "reference" for the published experiment as it was.
            classifier_epochs: Epochs at most.
            classifier_batch_size: Images in a training step.
            classifier_seed: Seed of every classifier's training and of the draw of its images.
            classifier_filter_rule: Which synthetic images the student sees: "agreement", "confidence" or "none".
            classifier_filter_confidence: Least probability of the own class under the rule "confidence".
            classifier_images_per_class: Synthetic images of each class to train on; 0 = as many as pass the filter.
            report_features: Feature extractor of the audit: "radiomic" or a keras.applications network.
            report_max_memorised: Largest share of synthetic images that may be copies of training images.
            report_endpoint: What is compared: "auc", "accuracy", "sensitivity" or "specificity".
            report_margin: Largest loss that still counts as no worse, declared before the test.
            report_uri: Stable address where the report and the verdict are kept beside the last ones; empty = the
                artifact alone.
            report_release_uri: gs:// or s3:// address to copy the release to; empty = the artifact alone.
            report_title: Title of the release's datasheet; empty = made from the classes.
            gpu_type: Resource name of the GPUs.
            gpu_count: Number of GPUs of each step that runs a network, as text; "0" = none.
            gpu_count_gan: Number of GPUs of GAN training, as text.
            gpu_node_selector: Labels of the GPU nodes, as a JSON object; {} = any node.
            gpu_tolerations: Taints of the GPU nodes to tolerate, those of spot nodes too, as a JSON list; [] = none.
            gpu_checkpoint_uri: Stable gs:// or s3:// address, or mounted folder, for the states of training, each in a
                place of its own, from which a step goes on after it lost its node; empty = lost with the pod.
            gpu_checkpoint_minutes: Minutes between two pushes of that state.
        """
        given = {name: value for name, value in locals().items() if isinstance(value, PipelineParameterChannel)}
        gpu = Gpu(gpu_type, gpu_count, gpu_node_selector, gpu_tolerations)
        gpu_gan = Gpu(gpu_type, gpu_count_gan, gpu_node_selector, gpu_tolerations)

        def graph(checked: dsl.PipelineTask) -> None:
            prepared = on_cpu(
                prepare_images(
                    source=source_uri,
                    negative_class=negative_class,
                    positive_class=positive_class,
                    size=data_size,
                    channels=data_channels,
                    test_per_class=test_per_class,
                    validation_fraction=data_validation_fraction,
                    mask_pattern=data_mask_pattern,
                    seed=data_seed,
                    split_uri=data_split_uri,
                    data_version=checked.outputs["data_version"],
                )
            )
            train, validation, test = (prepared.outputs[name] for name in ("train", "validation", "test"))
            classes = (prepared.outputs["negative_class"], prepared.outputs["positive_class"])
            state = {
                "checkpoint_uri": checked.outputs["checkpoint_uri"],
                "checkpoint_minutes": gpu_checkpoint_minutes,
            }

            def classifier(name: str, images, start=None):
                task = train_classifier(
                    images=images,
                    validation=validation,
                    **({"start": start} if start else {}),
                    backbone=classifier_backbone,
                    weights=classifier_weights,
                    recipe=classifier_recipe,
                    epochs=classifier_epochs,
                    batch_size=classifier_batch_size,
                    checkpoint_name=name.replace(" ", "-"),
                    **state,
                    seed=classifier_seed,
                )
                return on_gpu(task, gpu).set_display_name(f"train {name}").outputs["classifier"]

            def predictions(name: str, model):
                task = evaluate_classifier(classifier=model, images=test)
                return on_gpu(task, gpu).set_display_name(f"test {name}").outputs["predictions"]

            def generator(name: str = "", **label):
                trained = on_gpu(
                    train_gan(
                        images=train,
                        preset=gan_preset,
                        kimg=gan_kimg,
                        keep_snapshots=gan_keep_snapshots,
                        augment=gan_augment,
                        precision=gan_precision,
                        mapping_layers=gan_mapping_layers,
                        start_uri=gan_start_uri,
                        **state,
                        seed=gan_seed,
                        **label,
                    ),
                    gpu_gan,
                ).set_display_name(f"train GAN {name}".strip())
                selected = select_snapshot(
                    run=trained.outputs["run"],
                    images=train,
                    features=gan_features,
                    num_images=gan_selection_images,
                    truncation_psi=gan_truncation_psi,
                )
                return on_gpu(selected, gpu).set_display_name(f"select snapshot {name}".strip()).outputs["generator"]

            def raw(name: str, model, label, seeds: str):
                def generated(seeds: str):
                    task = generate_images(generator=model, label=label, seeds=seeds, truncation_psi=gan_truncation_psi)
                    return on_gpu(task, gpu).set_display_name(f"generate {name}").outputs["images"]

                if generation_shards == 1:
                    return generated(seeds)
                shards = [f"{number}/{generation_shards}" for number in range(1, generation_shards + 1)]
                with dsl.ParallelFor(shards, name=f"shards-{name.replace(' ', '-')}") as shard:
                    return generated(f"{seeds}:{shard}")

            def filtered(name: str, negative, positive, **rule):
                component = filter_images
                if generation_shards > 1:  # the compiler changes what is collected: each step needs its own
                    component = filter_image_shards
                    negative, positive = dsl.Collected(negative), dsl.Collected(positive)
                task = component(negative=negative, positive=positive, classifier=teacher, seed=classifier_seed, **rule)
                return on_gpu(task, gpu).set_display_name(name)

            def audited(name: str, synthetic):
                task = audit_images(
                    synthetic=synthetic,
                    train=train,
                    validation=validation,
                    features=report_features,
                    max_memorised=report_max_memorised,
                )
                return on_gpu(task, gpu).set_display_name(name)

            teacher = classifier("teacher", train)
            if conditional:
                generators = {"generator": generator()}
            else:
                generators = {
                    "generator": generator("negative", label=classes[0]),
                    "generator_positive": generator("positive", label=classes[1]),
                }
            student = control = None
            releases = []
            for number in range(rounds):
                suffix = f" {number + 1}" if rounds > 1 else ""
                images = {
                    name: raw(f"{name}{suffix}", model, label, seeds=f"{gan_seeds}+{number * 2 + k}")
                    for k, (name, model, label) in enumerate(
                        zip(("negative", "positive"), [*generators.values()] * 2, classes, strict=False)
                    )
                }
                agreed = filtered(
                    f"filter{suffix}",
                    **images,
                    rule=classifier_filter_rule,
                    confidence=classifier_filter_confidence,
                    per_class=classifier_images_per_class,
                )
                unfiltered = filtered(
                    f"draw control{suffix}", **images, rule="none", per_class=agreed.outputs["per_class"]
                )
                synthetic = agreed.outputs["images"]
                student = classifier(f"student{suffix}", synthetic, start=student)
                control = classifier(f"control{suffix}", unfiltered.outputs["images"], start=control)
                releases.append((suffix, synthetic, audited(f"audit images{suffix}", synthetic)))

            compared = on_cpu(
                compare_classifiers(
                    candidate=predictions("student", student),
                    reference=predictions("teacher", teacher),
                    control=predictions("control", control),
                    audit=releases[-1][-1].outputs["audit"],
                    endpoint=report_endpoint,
                    margin=report_margin,
                    report_uri=report_uri,
                    run_key=checked.outputs["run_key"],
                    data_version=checked.outputs["data_version"],
                )
            ).set_caching_options(False)
            with contextlib.ExitStack() as all_passed:
                for suffix, _, audit in releases:
                    name = f"audit{suffix}-passed".replace(" ", "-")
                    all_passed.enter_context(dsl.If(audit.outputs["verdict"] == "passed", name=name))
                before = None
                for suffix, synthetic, audit in releases:
                    is_last = synthetic is releases[-1][1]
                    task = publish_images(
                        images=synthetic,
                        audit=audit.outputs["audit"],
                        report=compared.outputs["report"],
                        **generators,
                        generator_uri=gan_start_uri,
                        release_uri=report_release_uri,
                        release_name=f"{checked.outputs['run_key']}{suffix.replace(' ', '-')}",
                        title=report_title,
                        **({"report_uri": report_uri, "run_key": checked.outputs["run_key"]} if is_last else {}),
                    )
                    on_cpu(task).set_caching_options(False).set_display_name(f"publish images{suffix}")
                    before = task.after(before) if before else task

        told = on_cpu(explain_run(run_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)).set_caching_options(False)
        with dsl.ExitHandler(told, name="run"):
            checked = on_gpu(
                preflight(
                    source_uri=source_uri,
                    settings=_settings(given, conditional=conditional, rounds=rounds),
                    data_version=data_version,
                    checkpoint_uri=gpu_checkpoint_uri,
                    report_uri=report_uri,
                    release_uri=report_release_uri,
                    start_uri=gan_start_uri,
                    split_uri=data_split_uri,
                    gpu_count=gpu_count,
                    gpu_count_gan=gpu_count_gan,
                    backbone=classifier_backbone,
                    weights=classifier_weights,
                    unchanged=data_unchanged,
                ),
                gpu_gan,
            ).set_caching_options(False)
            with dsl.If(checked.outputs["go"] == "yes", name="something-new"):
                graph(checked)

    return pipeline


def _settings(given: Mapping[str, PipelineParameterChannel], **graph: int) -> str:
    """All that the result depends on besides the source, one `name=value` a line."""
    place = {"data_version", "data_unchanged", "report_title"}
    place |= {name for name in given if name.startswith("gpu_") or name.endswith("_uri")} - {"gan_start_uri"}
    settings = {**graph, **{name: value for name, value in given.items() if name not in place}}
    return "\n".join(f"{name}={value}" for name, value in sorted(settings.items(), key=lambda setting: setting[0]))
