"""Errors that users can cause. The name of the class is the error's stable code: it stands at the end of a traceback.

Each class keeps the built-in base that Python code expects: `ValueError`, `OSError`, `RuntimeError` or `ImportError`,
which are all that the command line catches. Its docstring says what
happened and `advice` what to do; the page on how a run ended and docs/errors.md are made from these two. The message of
one error says what is wrong first, then what was received, then what to do.
"""

from typing import ClassVar


class ReganError(Exception):
    """An error with a stable code, the name of its class."""

    advice: ClassVar[str] = ""


def with_code(error: BaseException) -> str:
    """The message of an error for a terminal, after its code if it has one."""
    return f"{type(error).__name__}: {error}" if isinstance(error, ReganError) else str(error)


class SettingError(ReganError, ValueError):
    """A setting has a value that is not allowed, or two settings contradict each other."""

    advice = "Set the parameter that the message names to one of the values that it lists."


class SourceError(ReganError, ValueError):
    """The source cannot be used: not two classes, too few usable images, or a folder or archive that cannot be read."""

    advice = (
        "Read the list of refused files in the log of prepare_images; check the folders, negative_class, "
        "positive_class and test_per_class."
    )


class NoFilesError(ReganError, FileNotFoundError):
    """There is nothing at a path or URI."""

    advice = "Check the spelling of the path or URI, that the upload has finished, and your permissions."


class UnsupportedURIError(ReganError, ValueError):
    """A URI has a scheme that is not supported."""

    advice = "Use gs://bucket/folder, s3://bucket/folder or a local path."


class OutputExistsError(ReganError, FileExistsError):
    """The output folder, or the URI to write to, is not empty."""

    advice = "Choose another output, or remove what is there."


class OutputError(ReganError, OSError):
    """An output folder cannot be written: permissions, or a file where a folder is needed."""

    advice = "Check the permissions of the parent folder, or choose another output."


class DiskFullError(ReganError, OSError):
    """The disk has too little free space."""

    advice = "Free space, use a larger disk, or raise the ephemeral storage of the step; the preflight lists the bytes."


class CorruptFileError(ReganError, ValueError):
    """A file or folder is corrupt, incomplete, or was changed after it was written."""

    advice = "Run the step that writes it again, or restore it from a backup."


class FilesChangedError(ReganError, ValueError):
    """Files changed while they were being read or uploaded."""

    advice = "Run again when nothing is writing to these files."


class WrongArtifactError(ReganError, ValueError):
    """An artifact is of another kind, format, image size, channels or classes than this step needs."""

    advice = "Pass the artifact that the message asks for; artifacts of one run fit together."


class TooFewImagesError(ReganError, ValueError):
    """There are too few images, or too few of one class, for what was asked."""

    advice = "Add images, or lower the number that the message names."


class OverlapError(ReganError, ValueError):
    """Test images overlap with images that trained or tuned a model, so that the test would flatter it."""

    advice = "Use the test set of the same prepare_images run, or remove the overlapping images."


class AuditFailedError(ReganError, ValueError):
    """The audit of the synthetic images failed, so that they are not published."""

    advice = "Train, select or filter again, and audit again; the report shows the closest pairs."


class StorageAccessError(ReganError, PermissionError):
    """Object storage refuses access: credentials are missing, have expired or do not suffice."""

    advice = (
        "Bind the service account of the pods to one of the cloud (Workload Identity, IRSA), or mount a secret; it "
        "must be allowed to list, read, write and delete below the URI."
    )


class StorageUnavailableError(ReganError, ConnectionError):
    """Object storage does not answer, or not as it should."""

    advice = "Check the network, the endpoint and the provider's status page, then run again: nothing is lost."


class ServerAccessError(ReganError, PermissionError):
    """The Kubeflow Pipelines server needs a token, rejects it, or denies the account access to the namespace."""

    advice = "Set a fresh token with --token-file, and check --namespace and the account's role there."


class ServerUnavailableError(ReganError, ConnectionError):
    """The Kubeflow Pipelines server cannot be reached, or something else answers at its URL."""

    advice = "Check --endpoint, the network and --ca-file."


class RequestRefusedError(ReganError, ValueError):
    """The Kubeflow Pipelines server refused a request."""

    advice = "Read the server's message at the end of the error; it names the value or the object that it refuses."


class ConflictError(ReganError, RuntimeError):
    """Another process writes to the same URI."""

    advice = "Let the other process finish, or give each run a URI of its own."


class TakenOverError(ReganError, RuntimeError):
    """Another process now trains with the same checkpoint URI, and this one stopped; nothing is lost."""

    advice = "Let the other run finish, or give each run a checkpoint URI of its own."


class CheckpointMismatchError(ReganError, ValueError):
    """The checkpoint belongs to other images or another configuration."""

    advice = "Use another gpu_checkpoint_uri or output folder, or remove the checkpoint."


class TrainingStoppedError(ReganError, RuntimeError):
    """Training was stopped by a signal, as in a preemption, after its checkpoint was written."""

    advice = "Run again with the same gpu_checkpoint_uri: training resumes from its last checkpoint."


class TrainingDivergedError(ReganError, RuntimeError):
    """Training diverged: losses are no longer finite, or the discriminator has won for good."""

    advice = "Run again with another seed; if it diverges again, check the images and try another preset or recipe."


class PreflightError(ReganError, RuntimeError):
    """A preflight check failed: the run would fail on this machine, with these URIs or with these settings."""

    advice = "Do what the list says for each check; nothing was computed yet."


class MissingWeightsError(ReganError, FileNotFoundError):
    """Pretrained weights cannot be found or downloaded."""

    advice = "Set classifier_weights=none, or name a .weights.h5 file or a feature extractor that exists."


class MissingImageError(ReganError, FileNotFoundError):
    """A container image is not on this machine."""

    advice = "Build the images with `make images`, or name others with --image-cpu and --image-gpu."


class MissingLibraryError(ReganError, ImportError):
    """An optional library is not installed."""

    advice = "Install the extra that the message names, such as pip install 'regan[cloud]'."


class UnsupportedPlatformError(ReganError, OSError):
    """This work does not run on this operating system."""

    advice = "Use Linux or macOS, or Linux inside Windows (WSL 2)."


class UnsafeFileError(ReganError, ValueError):
    """A file could run code or write outside its folder, and was not opened."""

    advice = (
        "Get the file from a source that you trust; a pickle is read only with the names of official StyleGAN2 files."
    )
