import pytest

from regan.storage import provider


@pytest.mark.parametrize("error", ["no such key", "no such key.", "no such key. "])
@pytest.mark.parametrize("sentence", [provider.CREDENTIALS, provider.PERMISSION, provider.BUCKET, provider.ANSWER])
def test_no_sentence_ends_twice_whatever_the_provider_says(sentence, error):
    text = provider.told(sentence, "s3://bucket/x", ValueError(error), hint="Log in.")
    assert "s3://bucket/x" in text
    assert "no such key. " in text
    assert ".." not in text
