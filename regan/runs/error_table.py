"""Known causes of failed runs: how each is recognised in an error text, what it means and what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A known cause.

    Attributes:
        name: In a few words.
        pattern: Regular expression that the error text matches, whatever its capitals.
        meaning: What happened.
        advice: What to do.
    """

    name: str
    pattern: str
    meaning: str
    advice: str


CAUSES = (
    Cause(
        "a failed preflight",
        r"PreflightError|The run would fail:",
        "The machine, an address or a setting would not have carried the run.",
        "Do what its list says for each check; nothing was computed yet.",
    ),
    Cause(
        "no memory",
        r"OOMKilled|exit(ed)?( with)?( code| status)?:? ?137\b|\bMemoryError\b|Cannot allocate memory|MemoryPressure",
        "The system ended the step because it took more memory than its limit.",
        "Raise the memory limit of the step, or lower classifier_batch_size. Memory-backed /dev/shm counts too.",
    ),
    Cause(
        "no GPU memory",
        r"RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory",
        "The network and its batch do not fit into the GPU.",
        "Pick a GPU with more memory by gpu_node_selector, or lower classifier_batch_size or data_size.",
    ),
    Cause(
        "no disk space",
        r"No space left on device|ENOSPC|ephemeral[- ]storage|DiskPressure",
        "The disk of the node, or the limit of the pod, is full.",
        "Raise the ephemeral storage, or lower gan_keep_snapshots or the range of gan_seeds; see the preflight.",
    ),
    Cause(
        "small shared memory",
        r"Bus error|/dev/shm|exit(ed)?( with)?( code| status)?:? ?135\b",
        "/dev/shm is too small to pass batches through.",
        "Mount a larger one: an emptyDir of medium Memory at /dev/shm, or --shm-size.",
    ),
    Cause(
        "no node to run on",
        r"Unschedulable|FailedScheduling|Insufficient (nvidia\.com/gpu|cpu|memory|ephemeral)|node affinity"
        r"|untolerated taint",
        "No node has what the step asks for, such as the GPU.",
        "Check gpu_type, gpu_count, gpu_node_selector and gpu_tolerations against the node pools, and the quota.",
    ),
    Cause(
        "a lost node",
        r"preempt|\bspot\b|NodeShutdown|imminent node shutdown|node (was )?(deleted|lost|not ready)|\bevicted\b"
        r"|pod (was )?deleted|TrainingStoppedError|exit(ed)?( with)?( code| status)?:? ?143\b",
        "The node was taken away or drained, as spot nodes are, more often than the step is retried.",
        "Run again with the same gpu_checkpoint_uri: training goes on from its last checkpoint.",
    ),
    Cause(
        "a deadline",
        r"DeadlineExceeded|deadline (was )?exceeded|activeDeadlineSeconds|exceeded its deadline",
        "The step took longer than it may.",
        "Run again with the same gpu_checkpoint_uri to go on, use a faster GPU, or lower gan_kimg.",
    ),
    Cause(
        "no credentials",
        r"Storage needs credentials|Unauthorized|DefaultCredentialsError|NoCredentialsError|ExpiredToken|\b401\b",
        "The step has no credentials for the storage, or they have expired.",
        "Bind the service account of the pods to one of the cloud (Workload Identity, IRSA), or mount a secret.",
    ),
    Cause(
        "no permission",
        r"\b403\b|Forbidden|AccessDenied|Access Denied|PermissionError|PermissionDenied|credentials must allow",
        "The service account may not read or write the address.",
        "Ask the bucket's owner to let it list, read, write and delete there.",
    ),
    Cause(
        "a missing bucket",
        r"NoSuchBucket|bucket must exist|bucket does not exist|There must be files at the address",
        "Nothing lies at the address.",
        "Check the spelling of the addresses, and that the upload of the images has ended.",
    ),
    Cause(
        "images or labels",
        r"label conflict|two class folders|different pictures for the test set|too few (usable )?(images|pictures)"
        r"|Nothing is in '|must hold PNG or JPEG",
        "The source has not two classes with enough usable images, or images lie in both classes.",
        "Look at the refused files in the log of prepare images; set negative_class, positive_class or test_per_class.",
    ),
    Cause(
        "training diverged",
        r"TrainingDivergedError|diverged|loss is not finite",
        "The losses of GAN training are no numbers any more.",
        "Run again with another gan_seed; where it comes back, look at the images and try another preset.",
    ),
    Cause(
        "a checkpoint of something else",
        r"checkpoint\b.{0,200}\b(another|other|different) (configuration|images|settings)"
        r"|checkpoint\b.{0,100}\bdoes not belong",
        "The state at the checkpoint's address belongs to other images or settings.",
        "Name another gpu_checkpoint_uri, or remove what lies there.",
    ),
    Cause(
        "another run took over",
        r"ConflictError|TakenOverError|another writer|took over",
        "Another run works at the same address, and this one stood back; nothing is lost.",
        "Let the other one finish, or give each run an address of its own.",
    ),
    Cause(
        "an image that cannot be pulled",
        r"ImagePullBackOff|ErrImagePull|InvalidImageName",
        "The cluster cannot load the container image.",
        "Check the image's name and that the nodes may pull from its registry.",
    ),
    Cause(
        "a driver that does not fit",
        r"CUDA driver version is insufficient|no CUDA-capable device|CUDA_ERROR_NO_DEVICE|libcuda",
        "The step found no GPU, or one whose driver is too old.",
        "Compare the driver in the preflight's table with what it expects.",
    ),
    Cause(
        "no network",
        r"URLError|Connection ?(Error|refused|reset)|name resolution|The storage at .{0,300} must answer",
        "An address could not be reached.",
        "Check the network of the cluster. For ImageNet weights: classifier_weights=none, or a file.",
    ),
)
CANCELLED = Cause(
    "stopped",
    "",
    "A person or a schedule stopped the run.",
    "Run again with the same addresses: training goes on from its last checkpoint.",
)
UNKNOWN = Cause(
    "not known",
    "",
    "The error text tells none of the causes that are known.",
    "Look at the log and the events of the failed step's pod in the UI (kubectl describe pod, kubectl logs).",
)
