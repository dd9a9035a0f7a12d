"""Identifiers that are computed, never drawn: the same work on the same sources gives the same UIDs.

A repeat of a job therefore makes the same object instead of a second one, and a new network, new weights, new
parameters or a new generation make new UIDs without anybody having to remember it.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable

PRODUCT_NAMESPACE = uuid.UUID("6f0b8a52-5f0e-4c1a-9d57-3a1f2f6f7c11")
"""The name space of every UID of this product. Changing it changes every UID, so it never changes."""

SEPARATOR = "\x1f"
MAXIMUM_LENGTH = 64  # PS3.5 9.1
_WELL_FORMED = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def duid(*parts: object) -> str:
    """Compute a UID under 2.25 from parts (PS3.5 B.2); at most 44 characters.

    raises: ValueError if a part contains the separator: ("a", "b") must never meet ("a<separator>b",)
    """
    texts = [str(part) for part in parts]
    if not texts or any(SEPARATOR in text for text in texts):
        raise ValueError("A UID needs at least one part, and no part may contain the unit separator.")
    return f"2.25.{uuid.uuid5(PRODUCT_NAMESPACE, SEPARATOR.join(texts)).int}"


def series_uid(
    *,
    kind: str,
    study_uid: str,
    model: str,
    version: str,
    weights_sha256: str,
    parameters_sha256: str,
    input_digest: str,
    generation: int,
) -> str:
    """Series Instance UID (0020,000E) of what one network makes of one set of sources."""
    return duid(kind, study_uid, model, version, weights_sha256, parameters_sha256, input_digest, generation)


def form_series_uid(series: str, form: str) -> str:
    """Series Instance UID of a form of a derived series, each of which has its own; `series`: of the classic one."""
    return series if form == "classic" else duid("series", form, series)


def instance_uid(
    *,
    kind: str,
    study_uid: str,
    model: str,
    version: str,
    weights_sha256: str,
    parameters_sha256: str,
    input_digest: str,
    generation: int,
    role: str,
    index: int,
) -> str:
    """SOP Instance UID (0008,0018) of the object `index` (1..N in geometric order) in the part `role` of a series."""
    return duid(
        kind, study_uid, model, version, weights_sha256, parameters_sha256, input_digest, generation, role, index
    )


def input_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the sorted (SOP Instance UID, SHA-256 of the decoded stored values) pairs of all inputs.

    The order in which instances arrived doesn't count, and neither does the transfer syntax they came in.
    returns: 64 hexadecimal digits
    raises:  ValueError if there is no pair, a part contains a separator, or an instance is named twice
    """
    ordered = sorted(pairs)
    if not ordered:
        raise ValueError("An input digest needs at least one instance.")
    if len({uid for uid, _ in ordered}) != len(ordered):
        raise ValueError("An input digest names an instance twice.")
    digest = hashlib.sha256()
    for uid, pixel_sha256 in ordered:
        if SEPARATOR in uid + pixel_sha256 or "\n" in uid + pixel_sha256:
            raise ValueError("An input digest needs UIDs and hashes without separators.")
        digest.update(f"{uid}{SEPARATOR}{pixel_sha256}\n".encode())
    return digest.hexdigest()


def is_well_formed(uid: str) -> bool:
    """Whether a UID is what PS3.5 9.1 allows: components without leading zeros, at most 64 characters."""
    return len(uid) <= MAXIMUM_LENGTH and _WELL_FORMED.fullmatch(uid) is not None
