"""The bytes of a file at an http(s) address, from a server that may be slow, broken or hostile.

They arrive as the server sends them. Nothing is decoded, so nothing can inflate, and nothing is resumed.
Whether they are the right ones is for the caller to check.
"""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from time import monotonic
from urllib.parse import urljoin

import requests

from stages.core.names import shown

PIECE = 1 << 16
"""The most bytes that are taken at once."""
HINTS = {
    401: "The host asks for a password.",
    403: "The host refuses access.",
    404: "The file is not there: correct the address, or the mirror.",
    407: "The proxy asks for a password.",
    410: "The file is not there any more: find another address.",
    429: "The host is asked too often: try again later.",
    500: "The host is out of order: try again later.",
    502: "The host is out of order: try again later.",
    503: "The host is busy: try again later.",
    504: "The host is busy: try again later.",
}
CERTIFICATES = "REQUESTS_CA_BUNDLE names a file of certificates to trust, such as a company proxy's"


@dataclass(frozen=True)
class Bounds:
    """What a download may take. A number above them is refused."""

    size: int = 10 * 10**9
    """Bytes; the largest classifier of MMPretrain has 4 GB."""
    seconds: float = 24 * 3600
    stall: float = 60
    """Seconds in which `least` more bytes must arrive; the time to connect counts."""
    least: int = 60_000
    redirects: int = 10


BOUNDS = Bounds()


class Undelivered(Exception):
    """Why a file did not come, as a part of a sentence."""


def open_url(url: str, bounds: Bounds) -> tuple[int | None, Iterator[bytes]]:
    """The file's size, or None where the server does not say it, and its bytes in pieces.

    Raises Undelivered, the iterator does too. A thread asks the server, and this one waits no longer
    than the bounds say: looking up a name, TLS and headers have no time limit of their own.
    """
    received: Queue = Queue(maxsize=8)
    threading.Thread(target=receive, args=(url, bounds.redirects, received), daemon=True).start()
    end = monotonic() + bounds.seconds
    size = next_of(received, min(monotonic() + bounds.stall, end), bounds)
    if size is not None and size > bounds.size:
        raise Undelivered(f"it has {size:,} bytes, and at most {bounds.size:,} are accepted")
    return size, pieces(received, end, bounds)


def pieces(received: Queue, end: float, bounds: Bounds) -> Iterator[bytes]:
    total, counted, deadline = 0, 0, monotonic() + bounds.stall
    while piece := next_of(received, min(deadline, end), bounds):
        total += len(piece)
        if total > bounds.size:
            raise Undelivered(f"more than {bounds.size:,} bytes came, and no more are accepted")
        if monotonic() > end:
            raise Undelivered(f"it takes more than {bounds.seconds:,.0f} seconds")
        if total - counted >= bounds.least:
            counted, deadline = total, monotonic() + bounds.stall
        yield piece


def next_of(received: Queue, deadline: float, bounds: Bounds) -> int | None | bytes:
    """What `receive` sends next."""
    try:
        item = received.get(timeout=max(0.0, deadline - monotonic()))
    except Empty:
        slow = f"fewer than {bounds.least:,} bytes came in {bounds.stall:g} seconds"
        raise Undelivered(f"the host is too slow: {slow}") from None
    if isinstance(item, Exception):
        raise Undelivered(reason(item)) from None
    return item


# --- in the thread ------------------------------------------------------------------------------------


def receive(url: str, redirects: int, received: Queue) -> None:
    """Send the size, the pieces, and b"" at the end; or an exception in place of any of them.

    When nobody takes them any more, it waits for the end of the process.
    """
    try:
        with Session() as session, session.follow(url, redirects) as response:
            received.put(response.raw.length_remaining)
            while piece := response.raw.read1(PIECE, decode_content=False):
                received.put(piece)
        received.put(b"")
    except Exception as error:  # besides requests' own those of urllib3, http.client, ssl and idna
        received.put(error)


class Session(requests.Session):
    """Follows redirects itself: requests would read the page of each into memory, without a limit."""

    def get_redirect_target(self, response: requests.Response) -> None:
        """So that requests follows none."""

    def follow(self, url: str, redirects: int) -> requests.Response:
        """The answer with the file. A checksum proves it, so https may redirect to http."""
        for number in range(redirects + 1):
            where = f"a redirect to {shown(url)[:200]}" if number else "the address"
            if not url.lower().startswith(("http://", "https://")):
                raise Undelivered(f"{where} does not start with http:// or https://")
            headers = {"Accept-Encoding": "identity"}
            response = self.get(url, stream=True, timeout=60, headers=headers)
            target = super().get_redirect_target(response)
            if not target:
                check(response, f" after {where}" if number else "")
                return response
            response.close()
            url = urljoin(url, target)
        raise Undelivered(f"the host redirects more than {redirects} times")


def check(response: requests.Response, after: str) -> None:
    """Raise Undelivered unless the file follows, whole and as it is."""
    if response.status_code != 200:
        said = f"{response.status_code} {shown(response.reason or '')[:80]}".rstrip()
        hint = HINTS.get(response.status_code, "")
        raise Undelivered(f"the host answers {said}{after}. {hint}".rstrip(". "))
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() not in ("", "identity"):
        raise Undelivered(f"the host compresses it ({shown(encoding)[:80]}) though it was asked not to")


def reason(error: BaseException) -> str:
    """What lies behind an error of requests, which repeats the address and its own class names."""
    if isinstance(error, Undelivered):
        return str(error)
    proxy = "the proxy fails: " if isinstance(error, requests.exceptions.ProxyError) else ""
    first = error
    while first.__context__ is not None:
        first = first.__context__
    if isinstance(first, ssl.SSLCertVerificationError):
        return f"{proxy}its certificate is not valid: {shown(first.verify_message)}. {CERTIFICATES}"
    text = getattr(first, "strerror", None) or str(first) or type(first).__name__
    return proxy + shown(text)[:200].rstrip(". ")
