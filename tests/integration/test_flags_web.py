"""Flags as JSON by POST, and as labels at an Orthanc."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.peers.tls import web_server_context
from node.peers.webhook import SIGNATURE, TIMESTAMP, WebhookTeller, signature
from node.records import triages
from node.records.database import Records
from node.records.states import NoticeState
from node.settings.flags import Label, Webhook
from node.settings.web import OrthancDestination, StowTls, WebTls
from tests.authority import Authority
from tests.dicom_phantom import save, slice_of_ct
from tests.peers import Orthanc
from tests.scripted_http import Asked, Reply, ScriptedServer
from tests.telling import raise_flag, rows, tell, telling, withdraw
from tests.verdicts import REPORT, STUDY, new_records


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path)) as found:
        yield found


def hook(server: ScriptedServer, **values: Any) -> Webhook:
    return Webhook(name="hook", url=f"{server.url}/flags", **{"retry_longest_s": 0.1, **values})


def test_webhook_gets_the_verdict_signed_and_without_who_it_is(records: Records, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o600)
    with ScriptedServer(Reply(status=202, body=b"queued")) as server:
        channel = hook(server, secret_file=secret)
        raise_flag(records, [channel])
        tell(records, [channel])

        (asked,) = server.asked
        said = json.loads(asked.body)
        assert (said["kind"], said["flag"], said["score"]) == ("flag", "FLAG_RAISED", 0.87)
        assert (said["study_instance_uid"], said["report_instance_uid"]) == (STUDY, REPORT)
        for secret_fact in (b"DOE", b"4711", b"A-100"):
            assert secret_fact not in asked.body
        stamp = asked.headers[TIMESTAMP.lower()]
        assert abs(time.time() - int(stamp)) < 60
        assert asked.headers[SIGNATURE.lower()] == f"sha256={signature(b'0123456789abcdef', stamp, asked.body)}"
        assert asked.headers["idempotency-key"] == rows(records)[0]["control_id"] == said["id"]
    assert rows(records)[0]["answer"] == "202 queued"


def test_webhook_names_the_patient_only_where_the_settings_say_so(records: Records) -> None:
    with ScriptedServer(Reply(status=204)) as server:
        channel = hook(server, identity=True)
        raise_flag(records, [channel])
        tell(records, [channel])

        said = json.loads(server.asked[0].body)
        assert said["patient"]["id"] == "4711"
        assert said["accession_number"] == "A-100"


@pytest.mark.parametrize(
    "reply",
    [Reply(hang_up=True), Reply(status=500), Reply(status=503, headers={"Retry-After": "0"}), Reply(status=404)],
    ids=["hangs up", "500", "503", "404"],
)
def test_webhook_that_fails_gets_the_same_again(records: Records, reply: Reply) -> None:
    with ScriptedServer(reply, reply, Reply(status=200)) as server:
        channel = hook(server)
        if reply.status == 503:
            server_pause = Reply(status=503, headers={"Retry-After": "1"})
            server._script[:2] = [server_pause]
        raise_flag(records, [channel])
        tell(records, [channel])

        assert len({asked.body for asked in server.asked}) == 1
        assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1
    assert rows(records)[0]["state"] == NoticeState.DELIVERED
    assert rows(records)[0]["attempts"] == len(server.asked) >= 2


def test_webhook_is_left_alone_for_as_long_as_it_asks(records: Records) -> None:
    with ScriptedServer(Reply(status=429, headers={"Retry-After": "40"})) as server:
        channel = hook(server)
        raise_flag(records, [channel])
        with telling(records, [channel]) as until:
            until("it asks for time", lambda: rows(records)[0]["attempts"] == 1)
        (row,) = rows(records)

    assert 39.0 < row["next_at"] - row["updated_at"] < 41.0
    assert row["state"] == NoticeState.WAITING


def test_redirect_is_never_followed(records: Records) -> None:
    with ScriptedServer(Reply()) as other:
        with ScriptedServer(Reply(status=307, headers={"Location": other.url})) as server:
            channel = hook(server)
            raise_flag(records, [channel])
            with telling(records, [channel]) as until:
                until("attempts fail", lambda: rows(records)[0]["attempts"] >= 2)

        assert other.asked == []
    assert rows(records)[0]["state"] == NoticeState.WAITING


def test_webhook_that_says_no_is_given_up_with_an_alarm(records: Records) -> None:
    with ScriptedServer(Reply(status=401, body=b"who are you?")) as server:
        channel = hook(server, refusals=2)
        raise_flag(records, [channel])
        with telling(records, [channel]) as until:
            until("alarm", lambda: rows(records)[0]["alarmed_at"] is not None)

        assert len(server.asked) == 2
    assert rows(records)[0]["state"] == NoticeState.DEAD
    assert rows(records)[0]["answer"] == "401 who are you?"


def test_webhook_by_tls_is_told_only_if_its_certificate_holds(records: Records, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    good, alone = authority.sign("hook"), authority.sign_oneself("alone")
    contexts = [web_server_context(StowTls(certificate=one.certificate, key=one.key)) for one in (alone, good)]
    with ScriptedServer(Reply(), context=contexts[0]) as server:
        channel = hook(server, tls=WebTls(ca=good.ca))
        raise_flag(records, [channel])
        with telling(records, [channel]) as until:
            until("an attempt failed", lambda: rows(records)[0]["attempts"] >= 1)
        assert server.asked == []
    with ScriptedServer(Reply(), context=contexts[1]) as server:
        tell(records, [hook(server, tls=WebTls(ca=good.ca))])
        assert len(server.asked) == 1


def test_probe_says_that_somebody_is_there() -> None:
    with ScriptedServer(Reply(status=405)) as server:
        WebhookTeller(hook(server)).probe()


def orthanc_1_12(labels: dict[str, set[str]], *, there: Callable[[], bool] = lambda: True) -> Callable[[Asked], Reply]:
    """As much of a new Orthanc's REST interface as a label needs: this system's is older than labels."""

    def answer(asked: Asked) -> Reply:
        parts = asked.path.strip("/").split("/")
        if asked.path.endswith("/system"):
            return Reply(body=b'{"Version": "1.12.4"}')
        if asked.path.endswith("/lookup"):
            found = [{"ID": "orthanc-study", "Type": "Study"}] if there() and asked.body.decode() == STUDY else []
            return Reply(body=json.dumps(found).encode())
        on_study = labels.setdefault(parts[1], set())
        if asked.method == "GET":
            return Reply(body=json.dumps(sorted(on_study)).encode())
        on_study.add(parts[3]) if asked.method == "PUT" else on_study.discard(parts[3])
        return Reply()

    return answer


def at(url: str) -> OrthancDestination:
    return OrthancDestination(kind="orthanc", name="archive", url=url)


LABEL = Label(name="label", destination="archive", retry_longest_s=0.1)


def test_label_comes_when_the_study_is_there_and_goes_with_the_withdrawal(records: Records) -> None:
    labels: dict[str, set[str]] = {"orthanc-study": {"of-others"}}
    arrived: list[bool] = []
    with ScriptedServer(orthanc_1_12(labels, there=lambda: bool(arrived))) as server:
        raise_flag(records, [LABEL])
        with telling(records, [LABEL], at(server.url)) as until:
            until("it waits for the study", lambda: rows(records)[0]["attempts"] >= 2)
            assert rows(records)[0]["state"] == NoticeState.WAITING
            arrived.append(True)
            until("it is labelled", lambda: rows(records)[0]["state"] == NoticeState.DELIVERED)
            assert labels["orthanc-study"] == {"of-others", "ai-flag-raised"}
        withdraw(records)
        tell(records, [LABEL], orthanc=at(server.url))

    assert labels["orthanc-study"] == {"of-others"}


def test_label_stays_as_long_as_another_verdict_on_the_study_asks_for_it(records: Records) -> None:
    labels: dict[str, set[str]] = {}
    with ScriptedServer(orthanc_1_12(labels)) as server:
        for job_id in ("job-1", "job-2"):
            raise_flag(records, [LABEL], job_id)
            tell(records, [LABEL], job_id, at(server.url))
        for job_id, left in (("job-1", {"ai-flag-raised"}), ("job-2", set())):
            with records.write() as connection:
                triages.withdraw(connection, job_id, by="test", why="rejected", code="113037", at=time.time())
            withdraw(records, job_id)
            tell(records, [LABEL], job_id, at(server.url))
            assert labels["orthanc-study"] == left


@pytest.mark.peers
def test_orthanc_that_is_older_than_labels_gets_metadata(records: Records, tmp_path: Path) -> None:
    with Orthanc(tmp_path, aet="ARCHIVE") as orthanc:
        one = slice_of_ct(0)
        one.StudyInstanceUID = STUDY
        save(one, tmp_path / "slice.dcm")
        orthanc.api.upload((tmp_path / "slice.dcm").read_bytes())
        (study_id,) = orthanc.api.studies.get_all_ids()
        for on, wanted in ((True, "ai-flag-raised"), (False, None)):
            if on:
                raise_flag(records, [LABEL])
            else:
                withdraw(records)
            tell(records, [LABEL], orthanc=at(orthanc.url))
            assert orthanc.api.studies.get_string_metadata(study_id, "4097") == wanted
