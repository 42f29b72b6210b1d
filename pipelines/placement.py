"""Where each step runs on a cluster: the only file that requests GPUs, nodes, memory, scratch space and retries.

kfp.local ignores all of it. The facts behind the settings, with kfp 2.17:

- The number of GPUs is a string. An integer compiles and is dropped, and the pod starts without a GPU.
- Type and number reach a step inside an exit handler or a condition only when they are registered: the two setters
  leave the group without these inputs, and the pod would not start.
- The model of GPU is a node label, so the node selector chooses it. Selector and tolerations are pipeline parameters,
  so that a user can choose the node pool in the UI; `{}` and `[]` mean no constraint.
- The default for the longest time between the first start and the last retry is one hour, too short for training.
- Retries work for a step inside an exit handler or a condition, because they belong to the step's own template. They do
  not work inside a loop (kubeflow/pipelines #12389).
"""

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel

HOUR = 3600
RETRIES = {"num_retries": 6, "backoff_duration": "60s", "backoff_factor": 1.0, "backoff_max_duration": "30d"}
AT_ONCE = {"num_retries": 1, "backoff_duration": "10s", "backoff_factor": 1.0, "backoff_max_duration": "300s"}
SHARED_MEMORY = "8Gi"  # TensorFlow and NCCL pass batches and gradients through /dev/shm; the default is 64 MiB
SCRATCH = "/tmp"  # the only folder besides the artifacts that the images write to; it contains HOME


@dataclass(frozen=True)
class Needs:
    """What a step requests.

    Attributes:
        cpu: Cores, requested.
        memory: Memory of the host, requested.
        memory_limit: Memory above which Kubernetes kills the step; shared memory counts.
        scratch: Limit of its temporary files.
        hours: Deadline, from the start of the pod.
    """

    cpu: str
    memory: str
    memory_limit: str
    scratch: str
    hours: int


# Measured, peak of the process: prepare_images 76 MB (647 images at 256 x 256, 12 s on one core), compare_classifiers
# 177 MB, preflight and explain_run 0.1 GB; the steps with a network 1.4 GB at the demo's size on a CPU. What CUDA and
# full-size networks need on the host was not measured: their rows leave room for it.
NEEDS = {
    "preflight": Needs("500m", "512Mi", "2Gi", "1Gi", hours=1),
    "prepare-images": Needs("2", "1Gi", "4Gi", "100Gi", hours=12),
    "train-gan": Needs("4", "8Gi", "32Gi", "100Gi", hours=14 * 24),  # config-e at 256: 3 to 4 days on two V100
    "select-snapshot": Needs("4", "8Gi", "32Gi", "50Gi", hours=12),
    "generate-images": Needs("4", "8Gi", "32Gi", "50Gi", hours=24),
    "filter-images": Needs("4", "8Gi", "32Gi", "50Gi", hours=12),
    "filter-image-shards": Needs("4", "8Gi", "32Gi", "50Gi", hours=12),
    "train-classifier": Needs("4", "8Gi", "32Gi", "100Gi", hours=3 * 24),
    "evaluate-classifier": Needs("4", "8Gi", "32Gi", "50Gi", hours=12),
    "audit-images": Needs("4", "8Gi", "32Gi", "50Gi", hours=12),
    "compare-classifiers": Needs("1", "512Mi", "2Gi", "1Gi", hours=1),
    "publish-images": Needs("1", "1Gi", "4Gi", "50Gi", hours=12),
    "explain-run": Needs("500m", "512Mi", "2Gi", "1Gi", hours=1),
}


@dataclass(frozen=True)
class Gpu:
    """What a GPU step requests; every field is a pipeline parameter.

    Attributes:
        type: Resource name of the device plugin, such as `nvidia.com/gpu`.
        count: Number of GPUs, a string.
        node_selector: Labels of the nodes, a dictionary.
        tolerations: Taints to tolerate, such as those of spot nodes; dictionaries as in a pod's specification.
    """

    type: PipelineParameterChannel
    count: PipelineParameterChannel
    node_selector: PipelineParameterChannel
    tolerations: PipelineParameterChannel


def on_gpu(task: PipelineTask, gpu: Gpu) -> PipelineTask:
    """Place a step that runs a network.

    Args:
        task: The step.
        gpu: What it requests.

    Returns:
        The same step.
    """
    task.set_accelerator_type(gpu.type).set_accelerator_limit(gpu.count)
    task.register_pipeline_channels([gpu.type, gpu.count])
    kubernetes.add_node_selector_json(task, gpu.node_selector)
    kubernetes.add_toleration_json(task, gpu.tolerations)
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=SHARED_MEMORY)
    return on_cpu(task)


def on_cpu(task: PipelineTask) -> PipelineTask:
    """Place a step that needs no GPU.

    Args:
        task: The step.

    Returns:
        The same step.
    """
    name = task.component_spec.name
    needs = NEEDS[name]
    task.set_cpu_request(needs.cpu).set_memory_request(needs.memory).set_memory_limit(needs.memory_limit)
    kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=needs.scratch)
    kubernetes.set_timeout(task, needs.hours * HOUR)
    _with_storage(task)
    return task.set_retry(**(AT_ONCE if name == "preflight" else RETRIES))


def _with_storage(task: PipelineTask) -> None:
    """Keys and endpoint of an S3 store, if the namespace has them (manifests/overlays/s3); GCS needs none."""
    keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    place = {name: name for name in ("AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")}
    kubernetes.use_secret_as_env(task, "regan-s3", keys, optional=True)
    kubernetes.use_config_map_as_env(task, "regan-storage", place, optional=True)
