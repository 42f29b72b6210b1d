import pytest

from regan.common.errors import NoFilesError, StorageAccessError, StorageUnavailableError
from regan.storage import provider

MESSAGES = {
    "no credentials": (lambda uri, error: provider.no_credentials(uri, error, "Log in."), StorageAccessError),
    "no permission": (provider.no_permission, StorageAccessError),
    "no bucket": (provider.no_bucket, NoFilesError),
    "unavailable": (provider.unavailable, StorageUnavailableError),
}


@pytest.mark.parametrize("error", ["no such key", "no such key.", "no such key. "])
@pytest.mark.parametrize("name", MESSAGES)
def test_no_sentence_ends_twice_whatever_the_provider_says(name, error):
    make, kind = MESSAGES[name]
    made = make("s3://bucket/x", ValueError(error))
    assert type(made) is kind
    assert "s3://bucket/x" in str(made)
    assert "no such key. " in str(made)
    assert ".." not in str(made)
