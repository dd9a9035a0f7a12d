"""Settings of DICOMweb and Orthanc that cannot be meant are refused, with what to write instead."""

from typing import Any

import pytest
from pydantic import ValidationError

from node.settings.web import DicomwebDestination, OrthancDestination, OrthancSource, Stow, WebTls

SECURE = "https://archive.example/dicom-web"


def dicomweb(**more: Any) -> DicomwebDestination:
    return DicomwebDestination.model_validate({"kind": "dicomweb", "name": "vna", "url": SECURE, **more})


def test_a_url_loses_its_last_slash() -> None:
    assert dicomweb(url=SECURE + "/").url == SECURE


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "ftp://archive.example"}, "begins with http"),
        ({"url": "https://"}, "names a host"),
        ({"url": "https://archive.example:port"}, "the port of a URL"),
        ({"url": "https://user:secret@archive.example"}, "no user or password in a URL"),
        ({"url": SECURE + "?study=1"}, "ends with its path"),
        ({"token_file": "t", "password_file": "p"}, "exclude each other"),
        ({"url": "http://archive.example", "password_file": "p"}, "needs an https URL"),
        ({"tls": {"certificate": "c"}}, "certificate and key go together"),
        ({"verify": False}, "Extra inputs"),
    ],
)
def test_destinations(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        dicomweb(**more)


def test_a_secret_may_go_unencrypted_to_this_machine_only() -> None:
    assert dicomweb(url="http://127.0.0.1:8042", token_file="t").token_file is not None
    assert dicomweb(url="http://archive.example").token_file is None
    assert WebTls().ca is None


def test_names_of_metadata_and_labels() -> None:
    site = {"kind": "orthanc", "name": "o", "url": SECURE}
    assert OrthancDestination.model_validate({**site, "labels": ["ai-1"], "metadata": {"1024": "x", "Ai-Made": "y"}})
    for wrong in ({"labels": ["a b"]}, {"labels": ["../x"]}, {"metadata": {"12": "x"}}, {"metadata": {"a/b": "x"}}):
        with pytest.raises(ValidationError):
            OrthancDestination.model_validate({**site, **wrong})


def test_the_sender_that_rules_see() -> None:
    source = OrthancSource.model_validate({"kind": "orthanc", "name": "gateway-of-the-east-wing", "url": SECURE})
    assert source.title == "GATEWAY-OF-THE-E"


def test_senders_are_told_apart() -> None:
    one, two = {"ae_title": "CT1", "token_file": "a"}, {"ae_title": "CT2", "token_file": "b"}
    assert list(Stow.model_validate({"senders": [one, two]}).unsafe()) == []
    for senders, said in (
        ([one, one], "CT1 is there twice"),
        ([one, {"ae_title": "CT2"}], "each needs"),
        ([{"ae_title": "CT1", "subject": "ct1"}], "a subject needs stow.tls.ca"),
        ([], "at least 1 item"),
    ):
        with pytest.raises(ValidationError, match=said):
            Stow.model_validate({"senders": senders})


def test_what_others_can_reach_needs_tls_and_tokens() -> None:
    tls = {"certificate": "c", "key": "k"}
    token = {"ae_title": "CT1", "token_file": "a"}
    for host, more, safe in (
        ("127.0.0.1", {"senders": [{"ae_title": "CT1"}]}, True),
        ("::1", {"senders": [{"ae_title": "CT1"}]}, True),
        ("0.0.0.0", {"senders": [token]}, False),
        ("10.0.0.1", {"senders": [{"ae_title": "CT1"}], "tls": tls}, False),
        ("10.0.0.1", {"senders": [token], "tls": tls}, True),
    ):
        assert (list(Stow.model_validate({"host": host, **more}).unsafe()) == []) is safe
