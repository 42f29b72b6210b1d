"""The pipeline: from labelled real images to a synthetic training set and a verdict on it."""

from kfp import dsl

from components import (
    audit_images,
    compare_classifiers,
    evaluate_classifier,
    filter_images,
    generate_images,
    prepare_images,
    publish_images,
    select_snapshot,
    train_classifier,
    train_gan,
)
from pipelines.placement import Gpu, on_cpu, on_gpu

NAME = "synthetic-training-set"


def synthetic_training_set(*, conditional: bool = True) -> dsl.base_component.BaseComponent:
    """Make the pipeline.

    The teacher is trained on real images, the student on synthetic images that the teacher agrees with, and the
    control on as many unfiltered ones: the filter can write the teacher's rule into worthless images, and only the
    control shows it. All three answer the same test images, once.

    Args:
        conditional: One class-conditional network for both classes; otherwise one network a class.

    Returns:
        The pipeline, ready to be compiled.
    """

    @dsl.pipeline(name=NAME)
    def pipeline(
        source_uri: str,
        negative_class: str = "",
        positive_class: str = "",
        data_version: str = "",
        data_size: int = 256,
        data_channels: int = 1,
        data_mask_pattern: str = "*_mask*",
        data_validation_fraction: float = 0.1,
        data_seed: int = 0,
        test_per_class: int = 150,
        gan_preset: str = "config-e",
        gan_kimg: float = 0.0,
        gan_keep_snapshots: int = 25,
        gan_checkpoint_uri: str = "",
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
        report_release_uri: str = "",
        report_title: str = "",
        gpu_type: str = "nvidia.com/gpu",
        gpu_count: str = "1",
        gpu_count_gan: str = "1",
        gpu_node_selector: dict = {},  # noqa: B006
        gpu_tolerations: list = [],  # noqa: B006
    ):
        """Turn labelled real images into a synthetic training set, and say how good a classifier trained on it is.

        Args:
            source_uri: Folder, zip archive or gs:// or s3:// address with one folder of images for each class.
            negative_class: Class without the finding; empty = told by the source, where it has two classes.
            positive_class: Class with the finding that sensitivity counts; empty = the other class of the source.
            data_version: Any text that changes with the content of the source, so that the cache serves no old data.
            data_size: Side of the square images in pixels, a power of two from 32.
            data_channels: 1 for grey, 3 for RGB.
            data_mask_pattern: Files whose name fits this pattern are lesion masks and are left out.
            data_validation_fraction: Share of the training images that go to validation, 0 to 1.
            data_seed: Seed of the split.
            test_per_class: Real images of each class that only the final evaluation sees.
            gan_preset: Row of the table of presets: "demo", "config-e" or "config-f".
            gan_kimg: Length of GAN training in thousands of real images shown; 0 = the preset's.
            gan_keep_snapshots: Snapshots kept at most.
            gan_checkpoint_uri: Stable folder, local or mounted, for the state of GAN training; empty = lost with a pod.
            gan_seed: Seed of GAN training.
            gan_features: Feature extractor that picks the snapshot: "radiomic" or a keras.applications network.
            gan_selection_images: Synthetic images made with each snapshot to pick one.
            gan_seeds: Latent seeds of the negative class, first and last; the positive class takes the next range.
            gan_truncation_psi: Spread of the latents: 0 = the average image, 1 = as trained, above 1 = wider.
            classifier_backbone: Name of a keras.applications network, or "small" for small images.
            classifier_weights: Weights that the backbone starts from: "imagenet", or "none" for random ones.
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
            report_release_uri: gs:// or s3:// address to copy the release to; empty = the artifact alone.
            report_title: Title of the release's datasheet; empty = made from the classes.
            gpu_type: Resource name of the GPUs.
            gpu_count: Number of GPUs of each step that runs a network, as text; "0" = none.
            gpu_count_gan: Number of GPUs of GAN training, as text.
            gpu_node_selector: Labels of the GPU nodes, as a JSON object; {} = any node.
            gpu_tolerations: Taints of the GPU nodes to tolerate, as a JSON list; [] = none.
        """
        gpu = Gpu(gpu_type, gpu_count, gpu_node_selector, gpu_tolerations)
        gpu_gan = Gpu(gpu_type, gpu_count_gan, gpu_node_selector, gpu_tolerations)

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
                data_version=data_version,
            )
        )
        train, validation, test = (prepared.outputs[name] for name in ("train", "validation", "test"))
        classes = (prepared.outputs["negative_class"], prepared.outputs["positive_class"])

        def classifier(name: str, images):
            task = train_classifier(
                images=images,
                validation=validation,
                backbone=classifier_backbone,
                weights=classifier_weights,
                recipe=classifier_recipe,
                epochs=classifier_epochs,
                batch_size=classifier_batch_size,
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
                    checkpoint_uri=gan_checkpoint_uri,
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

        def raw(name: str, model, label, block: int):
            task = generate_images(
                generator=model, label=label, seeds=f"{gan_seeds}+{block}", truncation_psi=gan_truncation_psi
            )
            return on_gpu(task, gpu).set_display_name(f"generate {name}").outputs["images"]

        def filtered(name: str, **rule):
            task = filter_images(negative=negative, positive=positive, classifier=teacher, seed=classifier_seed, **rule)
            return on_gpu(task, gpu).set_display_name(name)

        teacher = classifier("teacher", train)
        if conditional:
            generators = [generator()] * 2
        else:
            generators = [generator("negative", label=classes[0]), generator("positive", label=classes[1])]
        negative = raw("negative", generators[0], classes[0], block=0)
        positive = raw("positive", generators[1], classes[1], block=1)

        agreed = filtered(
            "filter",
            rule=classifier_filter_rule,
            confidence=classifier_filter_confidence,
            per_class=classifier_images_per_class,
        )
        unfiltered = filtered("draw control", rule="none", per_class=agreed.outputs["per_class"])
        synthetic = agreed.outputs["images"]
        student = classifier("student", synthetic)
        control = classifier("control", unfiltered.outputs["images"])

        audited = on_gpu(
            audit_images(
                synthetic=synthetic,
                train=train,
                validation=validation,
                features=report_features,
                max_memorised=report_max_memorised,
            ),
            gpu,
        )
        compared = on_cpu(
            compare_classifiers(
                candidate=predictions("student", student),
                reference=predictions("teacher", teacher),
                control=predictions("control", control),
                audit=audited.outputs["audit"],
                endpoint=report_endpoint,
                margin=report_margin,
            )
        ).set_caching_options(False)
        with dsl.If(audited.outputs["verdict"] == "passed", name="audit-passed"):
            on_cpu(
                publish_images(
                    images=synthetic,
                    audit=audited.outputs["audit"],
                    report=compared.outputs["report"],
                    release_uri=report_release_uri,
                    title=report_title,
                )
            ).set_caching_options(False)

    return pipeline
