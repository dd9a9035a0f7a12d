"""Who may store by STOW-RS: bearer tokens (RFC 6750) and certificates against the settings."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from node.errors import BadSetting
from node.peers.web.http import secret
from node.settings.web import StowSender

_FEWEST_TOKEN_CHARACTERS: Final = 32


class TurnedAway(Exception):
    """The whole request is turned away."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


class Senders:
    """Who may store: a request's token and certificate against the settings. Raises BadSetting for a bad token file."""

    def __init__(self, senders: Sequence[StowSender]) -> None:
        self._known = [(one, None if one.token_file is None else secret(one.token_file).encode()) for one in senders]
        for one, token in self._known:
            if token is not None and len(token) < _FEWEST_TOKEN_CHARACTERS:
                raise BadSetting(
                    f"{one.token_file} holds fewer than {_FEWEST_TOKEN_CHARACTERS} characters.",
                    fix="Write a longer token, as `openssl rand -hex 32` makes.",
                )

    def title(self, authorization: str, subjects: frozenset[str]) -> str:
        """The title of whoever sent this. Raises TurnedAway with 401 or 403."""
        scheme, _, shown = authorization.partition(" ")
        bearer = shown.strip().encode() if scheme.lower() == "bearer" else b""
        right_token = False
        for sender, token in self._known:
            if token is not None and not hmac.compare_digest(token, bearer):
                continue
            if sender.subject is None or sender.subject.lower() in subjects:
                return sender.ae_title
            right_token = token is not None
        if right_token:
            raise TurnedAway(403, "The certificate is not that of this token's sender.")
        raise TurnedAway(401, "A bearer token of a known sender is needed.", {"WWW-Authenticate": "Bearer"})
