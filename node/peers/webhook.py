"""Webhooks: a verdict as JSON by POST, signed, and known by its Idempotency-Key when it comes again."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from node.peers.carrier import Broken, Busy
from node.peers.telling import NotTaken, Told
from node.peers.web.http import Session, retry_after_s, secret
from node.settings.flags import Webhook

_LONGEST_ANSWER: Final = 400
_PAUSE_S: Final = 30.0
_BUSY: Final = frozenset({429, 503})
_LATER: Final = frozenset({408, 409, 425})  # 409: the same key is being worked on (draft-ietf-httpapi-idempotency-key)
TIMESTAMP: Final = "X-Imaging-Node-Timestamp"
SIGNATURE: Final = "X-Imaging-Node-Signature"


class WebhookTeller:
    """Tells one receiver.

    clock:  seconds since the epoch; a receiver refuses signatures that are old
    raises: BadSetting if its secret or certificates cannot be used
    """

    def __init__(self, settings: Webhook, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._secret = None if settings.secret_file is None else secret(settings.secret_file).encode()
        Session(settings).close()  # looks at token and certificates

    def probe(self) -> None:
        """By OPTIONS: whatever it answers, somebody is there."""
        with closing(Session(self._settings)) as session:
            session.options(self._settings.url)

    def tell(self, told: Told, *, control_id: str, before: Callable[[], None]) -> str:
        content = body(told, control_id, identity=self._settings.identity)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": control_id,
            **self._signed(content),
        }
        with closing(Session(self._settings)) as session:
            before()
            # Unreachable says that nothing was sent, or that a redirect came: the address is not the receiver's.
            response = session.post(self._settings.url, data=content, headers=headers)
        status, name = response.status_code, self._settings.name
        said = "".join(
            c if c.isprintable() else " " for c in response.content[:_LONGEST_ANSWER].decode("utf-8", "replace")
        )
        answer = f"{status} {said}".strip()
        if 200 <= status < 300:
            return answer
        if status in _BUSY:
            raise Busy(f"{name}: answered {status}.", after_s=retry_after_s(response) or _PAUSE_S)
        if status >= 500 or status in _LATER:
            raise Broken(f"{name}: answered {status}.", fix="See its log.")
        raise NotTaken(f"{name}: answered {status}.", answer=answer, fix="Check its url, token and secret.")

    def _signed(self, content: bytes) -> dict[str, str]:
        if self._secret is None:
            return {}
        stamp = str(int(self._clock()))
        return {TIMESTAMP: stamp, SIGNATURE: f"sha256={signature(self._secret, stamp, content)}"}


def signature(key: bytes, stamp: str, content: bytes) -> str:
    """HMAC-SHA256 over timestamp, a full stop and body, hexadecimal."""
    return hmac.new(key, stamp.encode() + b"." + content, hashlib.sha256).hexdigest()


def body(told: Told, control_id: str, *, identity: bool) -> bytes:
    """What is sent; the same bytes for the same arguments. UIDs name the study; who it is only with `identity`."""
    subject = told.subject
    content: dict[str, Any] = {
        "id": control_id,
        "kind": "withdrawal" if told.withdrawn else "flag",
        "flag": told.flag.value,
        "score": told.score,
        "threshold": told.threshold,
        "reasons": list(told.reasons),
        "withdrawn": told.withdrawn or None,
        "at": told.told_at,
        "study_instance_uid": subject.study_uid,
        "series_instance_uid": subject.series_uid,
        "report_instance_uid": told.report_uid or None,
        "notice": "Automated triage by a demonstration network. Not a diagnosis.",
    }
    if identity:
        content["patient"] = {
            "id": subject.patient_id,
            "issuer": subject.issuer or subject.issuer_entity,
            "name": subject.names[0],
            "name_ideographic": subject.names[1],
            "name_phonetic": subject.names[2],
        }
        content["accession_number"] = subject.accession
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
