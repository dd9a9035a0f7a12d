"""HTTP to peers, by requests: a time-out on every call, nothing repeated, no redirect followed, nothing from outside.

Both client libraries (dicomweb-client, orthanc-api-client) get a session of this kind instead of their own: theirs wait
for ever or repeat a POST whose answer was lost.
"""

import logging
import ssl
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from node.errors import BadSetting
from node.peers import tls
from node.peers.carrier import Broken, Unreachable
from node.settings.web import WebSite, WebTls

# urllib3 and dicomweb-client name URLs, and with them UIDs, in their messages; they are no part of any log of ours.
for _name in ("urllib3", "dicomweb_client", "orthanc_api_client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False

ANSWER_BYTES: Final = 32 << 20  # the largest answer that is read whole: some 60,000 instances of a series
_BLOCK: Final = 256 << 10


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Connections with our TLS context; large blocks; no repeats (requests' own default)."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=4)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """As requests does, with block size and context."""
        if self._context is not None:
            options["ssl_context"] = self._context
        super().init_poolmanager(*arguments, blocksize=_BLOCK, **options)


class Session(requests.Session):
    """One site's connections. Not for several threads at once.

    Every failure of the network leaves it as Unreachable or Broken, whatever library made the call.
    """

    def __init__(self, site: WebSite) -> None:
        super().__init__()
        self.site_name = site.name
        self.trust_env = False  # no proxy and no .netrc of whoever started the node
        self.timeout = (site.connect_timeout_s, site.response_timeout_s)
        secure = site.url.startswith("https")
        context = tls.web_client_context(site.tls or WebTls()) if secure else None
        self.mount("http://", _Adapter(None))
        self.mount("https://", _Adapter(context))
        if site.token_file is not None:
            self.auth = _Bearer(secret(site.token_file))
        elif site.password_file is not None:
            user, colon, password = secret(site.password_file).partition(":")
            if not colon:
                raise BadSetting(f"{site.password_file} has no colon.", fix="Write user:password on its first line.")
            self.auth = HTTPBasicAuth(user.encode(), password.encode())

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As requests does, but Host is the URL's, with its port: dicomweb-client 0.61 sets one without."""
        prepared = super().prepare_request(request)
        prepared.headers.pop("Host", None)
        return prepared

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """As requests does, within limits. Raises Unreachable, Broken."""
        stream = options.pop("stream", False)
        options["allow_redirects"] = False
        if options.get("timeout") is None:
            options["timeout"] = self.timeout
        try:
            response = super().send(request, stream=True, **options)
        except requests.exceptions.SSLError as error:
            raise Unreachable(f"{self.site_name}: TLS failed.", fix="Check certificates and host name.") from error
        except requests.exceptions.ConnectTimeout as error:
            raise Unreachable(f"{self.site_name}: no connection in {self.timeout[0]:g} s.") from error
        except requests.RequestException as error:
            if _never_sent(error):
                raise Unreachable(f"{self.site_name}: no connection.", fix="Check its URL.") from error
            raise Broken(f"{self.site_name}: no answer ({type(error).__name__}).", fix="See the peer's log.") from error
        if response.is_redirect:
            response.close()
            raise Unreachable(
                f"{self.site_name}: answered {response.status_code}, a redirect.", fix="Set its url to where it leads."
            )
        if not stream:
            self._read_whole(response)
        return response

    def _read_whole(self, response: requests.Response) -> None:
        until = time.monotonic() + self.timeout[1]
        body = bytearray()
        try:
            for block in response.iter_content(_BLOCK):
                body += block
                if len(body) > ANSWER_BYTES or time.monotonic() > until:
                    raise Broken(f"{self.site_name}: an answer of {len(body)} bytes was too long or too slow.")
        except requests.RequestException as error:
            raise Broken(f"{self.site_name}: the answer broke off.", fix="See the peer's log.") from error
        finally:
            response.close()
        # There is no public way to hand a body over; requests does the same to itself.
        response._content = bytes(body)


def require_usable(sites: Iterable[WebSite]) -> None:
    """Look at every secret and certificate before anything is called. Raises BadSetting."""
    for site in sites:
        Session(site).close()


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the connection itself failed: requests wraps urllib3's reason twice."""
    reason = error.args[0] if error.args else None
    return type(getattr(reason, "reason", None)).__name__ in ("NewConnectionError", "NameResolutionError")


def blocks(response: requests.Response, *, site_name: str) -> Any:
    """The body of a streamed answer, block by block. Raises Broken where it is cut off or stalls."""
    try:
        yield from response.iter_content(_BLOCK)
    except requests.RequestException as error:
        raise Broken(f"{site_name}: the answer broke off.", fix="See the peer's log.") from error
    finally:
        response.close()


def secret(path: Path) -> str:
    """The one line of a file that holds a token or password. Raises BadSetting."""
    try:
        if path.stat().st_mode & 0o007:
            raise BadSetting(f"{path} can be read by everybody.", fix=f"chmod o= {path}")
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(
            f"{path} cannot be read: {type(error).__name__}.", fix="Name a text file of one line."
        ) from error
    if not text or "\n" in text or not text.isprintable():
        raise BadSetting(f"{path} does not hold one line of text.", fix="Write the secret on its only line.")
    return text


def retry_after_s(response: requests.Response) -> float | None:
    """Seconds of Retry-After (RFC 9110 10.2.3), at most a day; None if it is absent or a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), 86_400.0) if text.isdigit() else None
