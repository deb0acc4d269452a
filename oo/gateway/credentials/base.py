"""What a kind of credentials is, and what it is given of a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..._core.io import IO
from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ..header_rules import plain as plain_name
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

AUTHORIZATION = "the header authorization"
"""What most kinds set."""


class CredentialTools(Protocol):
    """What a kind is given of the call and of the gateway."""

    @property
    def io(self) -> IO:
        """How to wait, on a monotonic clock."""

    @property
    def allow_weak(self) -> bool:
        """Whether the route takes values that are too short to be masked."""

    def now(self) -> float:
        """Seconds since 1970."""

    def hide(self, values: Iterable[str]) -> None:
        """Have some values masked in all that comes back of this call, errors included."""

    async def send(self, request: Request) -> Response:
        """Send a request of the kind's own, by the rules of egress that hold for the route; DoubleOError where no
        answer came."""

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """What some work returns, which goes on to its end where the caller leaves."""

    async def spool(self, body: Body) -> Body:
        """The same bytes as a body that can be read twice."""

    async def store_version(self, name: str, value: str) -> None:
        """Keep a new version of a secret, which is current from now on."""


class Credential(ABC):
    """What a route puts into its requests. One object serves all calls of a process, at the same time.

    A kind is a subclass with a `kind`, which is its name, `parse` and `apply`. Its object keeps texts with
    placeholders, never the value of a secret that it was not given for a call.
    """

    kind: ClassVar[str]
    is_last: ClassVar[bool] = False
    """Whether it must be applied behind all others, because it signs what they made."""

    def __init__(self, *templates: Template) -> None:
        self.templates = templates

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """The credential of an option's text. StoreError where it can never be sent; it never quotes the text."""

    @abstractmethod
    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        """The request as it goes upstream, with the `values` of its secrets in it.

        Whatever it puts there that is not itself one of the `values` is given to `tools.hide` first. DoubleOError
        where a value is missing or cannot be sent; it never quotes a value.
        """

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets that it needs."""
        return frozenset().union(*(template.secrets for template in self.templates))

    @property
    def masked(self) -> frozenset[str]:
        """The names of those whose values are masked in all that comes back: all, but for private keys, which nobody is
        sent. They are so long that masking them would hold back whole streams."""
        return self.secrets

    @property
    def literals(self) -> tuple[str, ...]:
        """Its fixed texts. Where one holds the value of a stored secret, the route is to be refused."""
        return tuple(text for template in self.templates for text in template.literals)

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs that it calls itself, as far as they are known before a call."""
        return ()

    @property
    def sets(self) -> str | None:
        """The header or parameter that it sets, as a message names it. No two credentials of a route set the same."""
        return None

    def check(self, values: Mapping[str, str]) -> None:  # noqa: B027  # most have nothing to check
        """DoubleOError where these values could not be sent: asked when a route or a secret is set. Those of all its
        `secrets` must be there."""

    def refused(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> bool:
        """Told that the upstream answered the `request` that `apply` gave with 401. Whether applying it anew may help:
        what was fetched for it is forgotten then."""
        return False

    def shown(self) -> str:
        """What of it may be shown: no secret, and no text that may be one."""
        return " ".join([self.kind, *(template.shown for template in self.templates)])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shown()}>"


def without_headers(request: Request, names: Iterable[str]) -> Request:
    """The request without some header fields, however they are spelled."""
    dropped = {plain_name(name) for name in names}
    pairs = request.headers.pairs()
    kept = [pair for pair in pairs if plain_name(pair[0]) not in dropped]
    return request if len(kept) == len(pairs) else request.replace(headers=Headers(kept))


def with_header(request: Request, name: str, value: str) -> Request:
    """The request with one header field set, and none of the caller's own that could be read for it."""
    plain = plain_name(name)
    if plain in [plain_name(pair[0]) for pair in request.headers.pairs()]:
        request = without_headers(request, (name,))
    return request.with_header(name, value)
