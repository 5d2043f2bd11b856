"""Which server is asked, in which of its dialects."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from gip_cli.errors import UsageError, install
from gip_cli.judge.answers import NO_ENDPOINT, Answer, Transport, Unanswered
from gip_cli.judge.rubric import Rubric
from gip_cli.printable import Tell

if TYPE_CHECKING:
    from gip_cli.judge.http import Http

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_LIKE_A_SECRET = 8  # characters of a password or a header: shorter ones can be part of any text
_OPENAI = "https://api.openai.com/v1"
_NAME = re.compile(
    r"[A-Z]{1,32}|(?=[A-Z0-9]*_)[A-Z_][A-Z0-9_]{0,31}"
)  # as variables have, not keys
# As LM Studio says it with status 200, and Amazon's API Gateway with 403.
_NO_SUCH_ENDPOINT_SAYS = ("Unexpected endpoint", "Missing Authentication Token")


class Api(StrEnum):
    """How a server is asked; `auto` tries systemone and falls back to chat."""

    auto = "auto"
    systemone = "systemone"
    openai = "openai"
    chat = "chat"


@dataclass(frozen=True)
class Server:
    """A judge behind HTTP.

    Parameters
    ----------
    model : str
        The name that the server knows.
    base_url : str or None
        Up to and with ``/v1``; None is OpenAI's own, or ``OPENAI_BASE_URL``.
    key_variable : str
        The environment variable that holds the API key. Unless it is named, a server at a
        `base_url` may do without.
    requests_per_minute : float or None
        Attempts, retries among them.
    timeout : float
        Seconds for one attempt, to the answer's last byte.
    max_retries : int
        Further attempts after a failure that may pass; backoff and Retry-After are `openai`'s.

    Raises
    ------
    UsageError
        A URL that is none.
    """

    model: str
    api: Api = Api.auto
    base_url: str | None = None
    key_variable: str = DEFAULT_KEY_VARIABLE
    requests_per_minute: float | None = None
    timeout: float = 120.0
    max_retries: int = 5

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self._url)
            good = (
                parts.scheme in ("http", "https")
                and parts.hostname
                and parts.port != 0
                and self._url.isprintable()  # bytes that are not UTF-8 are not
                and not {"?", "#"} & set(self._url)  # endpoints are put to its end
            )
        except ValueError:
            good = False
        if not good:
            raise self._no_address()

    @property
    def _url(self) -> str:
        if self.base_url is not None:
            return self.base_url.strip(" ")
        return os.environ.get("OPENAI_BASE_URL", "").strip(" ") or _OPENAI

    def _no_address(self) -> UsageError:
        source = "OPENAI_BASE_URL" if self.base_url is None else "--judge-url"
        return UsageError(
            f"{source} is not the address of a server",
            "give one like http://127.0.0.1:8000/v1, no ? or #",
        )

    @property
    def apis(self) -> tuple[str, ...]:
        """The kinds of answers that asking this server can give."""
        return (Api.systemone, Api.chat) if self.api is Api.auto else (self.api,)

    @property
    def place(self) -> str:
        """The server's address as messages show it, without user name and password."""
        parts = urlsplit(self._url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def key(self) -> str | None:
        """The API key, None where it can do without; raises UsageError."""
        key = os.environ.get(self.key_variable, "").strip()
        if not _sendable(key):
            raise UsageError(f"what {self.key_variable} holds is no API key", "export it again")
        if key:
            return key
        if self._url == _OPENAI or self.key_variable != DEFAULT_KEY_VARIABLE:
            if not _NAME.fullmatch(self.key_variable):  # never shown: it may be the key itself
                raise UsageError(
                    "--api-key-env names no variable of the environment",
                    "give it the name of one that holds the key, not the key",
                )
            raise UsageError(
                f"no API key: {self.key_variable} is not in the environment",
                "export it, name another variable with --api-key-env, or give a local server's "
                "--judge-url",
            )
        return None

    def _secrets(self) -> list[str]:
        """What is sent beside the key: headers, in parts, and passwords, or users, of addresses.

        Those are the server's own and the environment's proxies'.
        """
        lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        values = [part for line in lines for part in re.split(r"[\s;=,]+", line.partition(":")[2])]
        for url in (self._url, *getproxies().values()):
            with suppress(ValueError):
                parts = urlsplit(url)
                values.append(unquote(parts.password or parts.username or ""))
        return [text for text in values if len(text) >= _LIKE_A_SECRET]

    def check(self) -> None:
        """Raise UsageError now for what would keep `connect` from asking."""
        try:
            import aiolimiter  # noqa: F401
            import httpx2
            import openai
        except ImportError as error:
            raise UsageError(
                f"asking a server needs a package that is not here ({error})",
                install("judge"),
            ) from None
        try:
            httpx2.URL(self._url)
        except httpx2.InvalidURL:  # stricter than urlsplit: a host that IDNA does not know
            raise self._no_address() from None
        try:
            client = openai.AsyncOpenAI(api_key="none", base_url=self._url)
        except (ImportError, httpx2.InvalidURL, ValueError, OSError) as error:
            raise UsageError(
                f"the environment's proxy or certificates cannot be used ({error})",
                "see to HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE",
            ) from None
        for name, value in client.default_headers.items():
            if isinstance(value, str) and not _sendable(name + value):
                raise UsageError(
                    f"the environment's header {name} cannot be sent",
                    "see to OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS",
                )
        self.key()

    @asynccontextmanager
    async def connect(
        self, rubric: Rubric, notice: Tell, settled: str | None = None
    ) -> AsyncIterator[Transport]:
        """Open a transport; `settled` is the api that a journal's answers came through."""
        self.check()
        from gip_cli.judge.http import Http

        http = Http(
            self._url,
            self.key(),
            secrets=self._secrets(),
            timeout=self.timeout,
            max_retries=self.max_retries,
            requests_per_minute=self.requests_per_minute,
            trouble=lambda what: notice(f"{self.place}: {what}"),
        )
        try:
            yield self._transport(http, rubric, notice, settled or self.api)
        finally:
            await http.aclose()

    def _transport(self, http: Http, rubric: Rubric, notice: Tell, api: str) -> Transport:
        from gip_cli.judge.chat import Chat
        from gip_cli.judge.decisions import Decisions
        from gip_cli.judge.systemone import SystemOne

        if api == Api.systemone:
            return SystemOne(http, self.model, rubric)
        if api == Api.openai:
            return Decisions(http, self.model, rubric)
        chat = Chat(http, self.model, rubric, notice)
        if api == Api.chat:
            return chat
        return _Auto(SystemOne(http, self.model, rubric), chat, notice)


class _Auto:
    """System One if the server has it, else chat: the first request that is answered decides.

    The others wait until the very first has ended. If it had no answer they do not go on waiting
    for one another: of a server that is gone, twenty rows' attempts would take minutes.
    """

    def __init__(self, first: Transport, second: Transport, notice: Tell) -> None:
        self._first = first
        self._second = second
        self._notice = notice
        self._chosen: Transport | None = None
        self._begun = False
        self._tried = asyncio.Event()

    @property
    def api(self) -> str:
        return (self._chosen or self._first).api

    async def ask(self, state: str) -> Answer:
        if self._begun:
            await self._tried.wait()
        self._begun = True
        if self._chosen is not self._second:
            try:
                answer = await self._first.ask(state)
            except Unanswered as failure:
                if self._chosen is None and _no_such_endpoint(failure):
                    self._chosen = self._second
                    said = f" ({failure.detail})" if failure.detail else ""
                    self._notice(
                        f"the server has no /systemone: {failure.cause}{said}; asking through "
                        "/chat/completions, which gives no probabilities"
                    )
                if self._chosen is not self._second:
                    raise
            else:
                self._chosen = self._chosen or self._first
                if self._chosen is self._first:
                    return answer
            finally:
                self._tried.set()
        return await self._second.ask(state)


def _sendable(text: str) -> bool:
    """Whether a header can hold it."""
    return text.isascii() and text.isprintable()


def _no_such_endpoint(failure: Unanswered) -> bool:
    return failure.status in NO_ENDPOINT or any(
        words in failure.detail for words in _NO_SUCH_ENDPOINT_SAYS
    )
