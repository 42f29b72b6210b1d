"""Where each step runs on a cluster: the only file that asks for GPUs, nodes, shared memory, retries and deadlines.

kfp.local ignores all of it. The facts behind the settings, with kfp 2.17:

- The number of GPUs is a string. An integer compiles and is dropped, and the pod starts without a GPU.
- The model of GPU is a node label, so it is chosen by the node selector. Selector and tolerations are pipeline
  parameters, so that a person picks the node pool in the UI; `{}` and `[]` mean no constraint.
- The longest time between the first start and the last retry is an hour unless told, which would kill long training.
"""

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel

RETRIES = {"num_retries": 6, "backoff_duration": "60s", "backoff_factor": 1.0, "backoff_max_duration": "30d"}
SHARED_MEMORY = "8Gi"  # TensorFlow and NCCL pass batches and gradients through /dev/shm; the default is 64 MiB
HOUR = 3600
DEADLINES = {  # seconds from the start of the pod; config-e at 256 takes 3 to 4 days on two V100
    "train-gan": 14 * 24 * HOUR,
    "train-classifier": 3 * 24 * HOUR,
    "generate-images": 24 * HOUR,
}
DEADLINE = 12 * HOUR


@dataclass(frozen=True)
class Gpu:
    """What a GPU step asks for; every field is a pipeline parameter.

    Attributes:
        type: Resource name of the device plugin, such as `nvidia.com/gpu`.
        count: Number of GPUs, a string.
        node_selector: Labels of the nodes, a dictionary.
        tolerations: Taints to tolerate, a list of dictionaries as in a pod's specification.
    """

    type: PipelineParameterChannel
    count: PipelineParameterChannel
    node_selector: PipelineParameterChannel
    tolerations: PipelineParameterChannel


def on_gpu(task: PipelineTask, gpu: Gpu) -> PipelineTask:
    """Place a step that runs a network.

    Args:
        task: The step.
        gpu: What it asks for.

    Returns:
        The same step.
    """
    task.set_accelerator_type(gpu.type).set_accelerator_limit(gpu.count)
    kubernetes.add_node_selector_json(task, gpu.node_selector)
    kubernetes.add_toleration_json(task, gpu.tolerations)
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=SHARED_MEMORY)
    return _kept_alive(task)


def on_cpu(task: PipelineTask) -> PipelineTask:
    """Place a step that needs no GPU.

    Args:
        task: The step.

    Returns:
        The same step.
    """
    return _kept_alive(task)


def _kept_alive(task: PipelineTask) -> PipelineTask:
    kubernetes.set_timeout(task, DEADLINES.get(task.component_spec.name, DEADLINE))
    return task.set_retry(**RETRIES)
