"""Known causes of failed runs: how each is recognised in an error text, what it means and what to do.

Our own errors are found by the name of their class, which ends every traceback and is printed by `regan <verb>`;
meaning and advice come from the class. Only texts that others write are searched by regular expressions: Kubernetes,
CUDA, the kernel, storage clients and Python itself. docs/errors.md is made from both tables.
"""

import inspect
import re
from dataclasses import dataclass

from regan.common import errors
from regan.common.errors import (
    DiskFullError,
    MissingLibraryError,
    NoFilesError,
    ReganError,
    StorageAccessError,
    StorageUnavailableError,
    TrainingStoppedError,
)


@dataclass(frozen=True)
class Cause:
    """A known cause.

    Attributes:
        name: The error's code, or a few words.
        meaning: What happened.
        advice: What to do.
    """

    name: str
    meaning: str
    advice: str


@dataclass(frozen=True)
class Sign(Cause):
    """A cause that is recognised in texts of other programs.

    Attributes:
        texts: Regular expressions that are searched for, in capitals or not, each with a sentence that it finds.
        covered_by: Our error that says the same with more detail; where its code is in the text, this row is left out.
    """

    texts: tuple[tuple[str, str], ...]
    covered_by: type[ReganError] | None = None

    def is_in(self, text: str) -> bool:
        """Whether one of the expressions is found."""
        return any(re.search(pattern, text, re.IGNORECASE) for pattern, _ in self.texts)


def error_classes() -> dict[str, type[ReganError]]:
    """Classes of `regan.common.errors` by name, in the order of that file, without their base."""
    return {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, ReganError) and found is not ReganError
    }


def cause_of(error: type[ReganError]) -> Cause:
    """The row of one of our errors: its code, the first paragraph of its docstring and its advice."""
    meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0]
    return Cause(error.__name__, " ".join(meaning.split()), error.advice)


def causes_in(text: str) -> list[Cause]:
    """Find the known causes that an error text names.

    Args:
        text: A traceback, the message of a pod, or any other text.

    Returns:
        Our own errors in the order of their file, then those of other programs; empty where none is known.
    """
    names = set(re.findall(r"\b[A-Z][A-Za-z]*Error\b", text))
    ours = [found for name, found in error_classes().items() if name in names]
    signs = [sign for sign in SIGNS if sign.covered_by not in ours and sign.is_in(text)]
    return [*map(cause_of, ours), *signs]


# Kubernetes and Argo print the exit status of a container: 128 and the number of the signal that ended it.
_EXIT = r"exit(?:ed)?(?: with)?(?: code| status)?:? ?"

# Each expression stands beside a sentence that it finds, with the program that writes it.
SIGNS = (
    Sign(
        "no memory",
        "The system ended the step because it used more memory than its limit, or the node had none left.",
        "Raise the memory limit of the step, or lower classifier_batch_size. Memory-backed /dev/shm counts too.",
        (
            (r"\bOOMKilled\b", "OOMKilled (exit code 137)"),  # Argo Workflows, from the container's state
            (rf"{_EXIT}137\b", "main container exited with code 137"),  # 128 + SIGKILL
            # NumPy, ArrayMemoryError; Python's own MemoryError ends the same way.
            (r"MemoryError\b", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 EiB for an array"),
            (r"Cannot allocate memory", "OSError: [Errno 12] Cannot allocate memory"),  # Linux, strerror(ENOMEM)
            (r"low on resource: memory", "The node was low on resource: memory."),  # Kubernetes, kubelet's eviction
        ),
    ),
    Sign(
        "no GPU memory",
        "The network and its batch do not fit into the GPU's memory.",
        "Choose a GPU with more memory by gpu_node_selector, or lower classifier_batch_size or data_size.",
        (
            # XLA
            (r"RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."),
            # TensorFlow
            (r"ResourceExhaustedError", "ResourceExhaustedError: OOM when allocating tensor with shape[4096,512,64]"),
            (r"CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),  # CUDA driver, cuGetErrorName
        ),
    ),
    Sign(
        "no disk space",
        "The disk of the node, or the limit of the pod's temporary files, is full.",
        "Raise the ephemeral storage, or lower gan_keep_snapshots or the range of gan_seeds; the preflight lists the "
        "bytes.",
        (
            (r"No space left on device", "OSError: [Errno 28] No space left on device"),  # Linux, strerror(ENOSPC)
            # Kubernetes, kubelet's eviction manager: these three.
            (
                r"ephemeral local storage usage exceeds",
                "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
            ),
            (r"Usage of EmptyDir volume", 'Usage of EmptyDir volume "scratch" exceeds the limit "50Gi".'),
            (r"low on resource: ephemeral-storage", "The node was low on resource: ephemeral-storage."),
        ),
        DiskFullError,
    ),
    Sign(
        "small shared memory",
        "/dev/shm is too small to pass batches and gradients through.",
        "Mount a larger one: an emptyDir of medium Memory at /dev/shm, or --shm-size.",
        (
            (r"\bBus error\b", "Bus error (core dumped)"),  # the shell: SIGBUS, at a write to a full /dev/shm
            (rf"{_EXIT}135\b", "Error (exit code 135)"),  # Argo Workflows: 128 + SIGBUS
            # NCCL, shmutils.cc
            (
                r"shared memory segment /dev/shm",
                "Error while creating shared memory segment /dev/shm/nccl-1kYjqd (size 9637888)",
            ),
        ),
    ),
    Sign(
        "no node to run on",
        "No node has what the step requests, such as a GPU.",
        "Compare gpu_type, gpu_count, gpu_node_selector and gpu_tolerations with the node pools, and check the quota.",
        (
            # Kubernetes, the scheduler. The second part of its sentence is no sign that a node was preempted.
            (
                r"\d nodes are available",
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No "
                "preemption victims found for incoming pod.",
            ),
            (r"\bUnschedulable\b", "Unschedulable"),  # Kubernetes, reason of the condition PodScheduled
            (r"\bFailedScheduling\b", "FailedScheduling"),  # Kubernetes, reason of the scheduler's event
        ),
    ),
    Sign(
        "lost node",
        "Preemption or node failure: the node was reclaimed, as spot nodes are, more often than the step is retried.",
        "Run again with the same gpu_checkpoint_uri: training resumes from its last checkpoint.",
        (
            # Kubernetes, kubelet's node shutdown manager, as on spot nodes
            (r"imminent node shutdown", "Pod was terminated in response to imminent node shutdown."),
            (r"\bNodeShutdown\b", "NodeShutdown"),  # Kubernetes, reason of a pod that such a node refuses
            (r"\bPreempted in order to admit\b", "Preempted in order to admit critical pod"),  # Kubernetes, kubelet
            (r"\b(?:was|been) preempted\b", "Instance was preempted."),  # Compute Engine, compute.instances.preempted
            (r"\bpod deleted\b", "pod deleted"),  # Argo Workflows, message of a step whose pod is gone
            (rf"{_EXIT}143\b", "Error (exit code 143)"),  # Argo Workflows: 128 + SIGTERM
        ),
        TrainingStoppedError,
    ),
    Sign(
        "deadline exceeded",
        "The step ran longer than it may.",
        "Run again with the same gpu_checkpoint_uri to resume, use a faster GPU, or lower gan_kimg.",
        (
            # Kubernetes: kubelet's active deadline, the job controller's, and the reason of both. An exception of this
            # name is a slow request to Google's APIs.
            (
                r"longer than (?:the )?specified deadline",
                "Pod was active on the node longer than the specified deadline",
            ),
            (r"(?<!exceptions\.)\bDeadlineExceeded\b", "DeadlineExceeded"),
            (r"Step exceeded its deadline", "Step exceeded its deadline"),  # Argo Workflows
        ),
    ),
    Sign(
        "no credentials",
        "The step has no credentials for the storage, or they have expired.",
        StorageAccessError.advice,
        (
            # google-auth
            (
                r"\bDefaultCredentialsError\b",
                "google.auth.exceptions.DefaultCredentialsError: Your default credentials were not found.",
            ),
            (r"Unable to locate credentials", "botocore.exceptions.NoCredentialsError: Unable to locate credentials"),
            # S3, through botocore
            (r"\bExpiredToken\b", "An error occurred (ExpiredToken) when calling the ListObjectsV2 operation"),
            # requests
            (r"\b401 Client Error", "401 Client Error: Unauthorized for url: https://storage.googleapis.com/"),
        ),
        StorageAccessError,
    ),
    Sign(
        "no permission",
        "The account of the step may not read or write there.",
        "Ask the bucket's owner to let the account list, read, write and delete there; check a folder's permissions.",
        (
            # google-cloud-storage
            (r"\bForbidden: 403\b", "google.api_core.exceptions.Forbidden: 403 POST https://storage.googleapis.com/"),
            # S3, through botocore
            (r"\bAccessDenied\b", "An error occurred (AccessDenied) when calling the PutObject operation"),
            (r"Permission denied", "PermissionError: [Errno 13] Permission denied: 'report'"),  # Linux, EACCES
        ),
        StorageAccessError,
    ),
    Sign(
        "missing bucket or file",
        "There is nothing at a path or URI.",
        NoFilesError.advice,
        (
            # S3, through botocore
            (r"\bNoSuchBucket\b", "An error occurred (NoSuchBucket) when calling the ListObjectsV2 operation"),
            # Cloud Storage
            (
                r"bucket does not exist",
                "404 GET https://storage.googleapis.com/storage/v1/b/x: The specified bucket does not exist.",
            ),
            (
                r"No such file or directory",
                "FileNotFoundError: [Errno 2] No such file or directory: 'images'",
            ),  # ENOENT
        ),
        NoFilesError,
    ),
    Sign(
        "image cannot be pulled",
        "The cluster cannot load the container image.",
        "Check the image's name, and that the nodes may pull from its registry.",
        (
            # Kubernetes, reasons of a waiting container: these three.
            (r"\bImagePullBackOff\b", 'ImagePullBackOff: Back-off pulling image "regan-gpu"'),
            (r"\bErrImagePull\b", "ErrImagePull"),
            (r"\bInvalidImageName\b", "InvalidImageName"),
        ),
    ),
    Sign(
        "unsuitable driver",
        "The step found no GPU, or one whose driver is too old.",
        "Compare the driver in the preflight's table with the version that it expects.",
        (
            # CUDA, cudaGetErrorString(cudaErrorInsufficientDriver)
            (
                r"CUDA driver version is insufficient",
                "CUDA driver version is insufficient for CUDA runtime version",
            ),
            # CUDA, cuGetErrorString(CUDA_ERROR_NO_DEVICE)
            (r"no CUDA-capable device", "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"),
            (r"libcuda\.so", "Could not load dynamic library 'libcuda.so.1'"),  # TensorFlow
        ),
    ),
    Sign(
        "no network",
        "A server could not be reached.",
        "Check the network of the cluster. For ImageNet weights: set classifier_weights=none, or to a file.",
        (
            (r"\bURLError\b", "urllib.error.URLError: <urlopen error timed out>"),  # Python
            (r"name resolution", "OSError: [Errno -3] Temporary failure in name resolution"),  # glibc, EAI_AGAIN
            (r"Connection refused", "ConnectionRefusedError: [Errno 111] Connection refused"),  # Linux, ECONNREFUSED
            (r"Connection reset", "ConnectionResetError: [Errno 104] Connection reset by peer"),  # Linux, ECONNRESET
            # botocore
            (
                r"Could not connect to the endpoint",
                "botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL",
            ),
            # urllib3
            (
                r"Max retries exceeded",
                "HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token",
            ),
        ),
        StorageUnavailableError,
    ),
    Sign(
        "missing library",
        "The image or environment lacks a library.",
        "Use the images of this version of regan, or install the extra that has the library.",
        ((r"\bNo module named '", "ModuleNotFoundError: No module named 'tensorflow'"),),  # Python
        MissingLibraryError,
    ),
)
CANCELLED = Cause(
    "stopped",
    "A person or a schedule stopped the run.",
    "Run again with the same URIs: training resumes from its last checkpoint.",
)
UNKNOWN = Cause(
    "unknown",
    "The error text contains none of the known causes.",
    "Read the log and the events of the failed step's pod in the UI (kubectl describe pod, kubectl logs).",
)
