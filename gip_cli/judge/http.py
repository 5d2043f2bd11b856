"""HTTP through the `openai` package: its retries, backoff and Retry-After, none of our own.

Added to its client is what every attempt passes, a retry too: the requests a minute, a deadline
for the whole answer (its own timeout is one of silence: a server that dribbles would hold a request
for ever), a largest size, and the check that a success is a JSON object that no redirect led to,
without which a proxy's error page or half an answer would not be asked for again. A status within
the body counts as the answer's own, and an error that stays is not tried again.

The API key is known here only. It is taken out of every answer and message before they leave.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from base64 import b64encode
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
import openai
from aiolimiter import AsyncLimiter

from gip_cli.judge.answers import ERROR_200, NO_CONNECTION, TIMED_OUT, TOO_SLOW, Unanswered
from gip_cli.printable import Tell, printable

_SHORTEST_SECRET = 4  # a shorter key is a placeholder ("x"), and may be part of any word
_LONGEST = 8 << 20  # bytes of an answer, unpacked; a few KB are usual, a long train of thought 1 MB
_BUSY = (429, 503, 529)  # as llama.cpp says while it loads, and Anthropic when overloaded
_PASSING = 502  # of an upstream's failure that gives none
_CONNECT = 30.0  # seconds at most, and half an attempt's: a host that is silent is not a slow one
_ANSWERED = (
    httpx2.DecodingError,
    httpx2.RemoteProtocolError,
    httpx2.TooManyRedirects,
    httpx2.UnsupportedProtocol,
)
_NOTHING = "without sending a response"  # of a connection closed before the answer's first byte
_DROPPING = (301, 302, 303)  # redirects after which clients ask by GET
_URL_SAFE = str.maketrans("+/", "-_")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')  # every one in a text that is JSON


class _Unusable(httpx2.DecodingError):
    """A body that is no answer, and why, as it is counted; a request error is asked again."""


class _RawResponse(Protocol):
    @property
    def http_response(self) -> httpx2.Response: ...


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=lambda name: None)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _spellings(secret: str) -> str:
    r"""A pattern: `secret` as it is, in base64, and as JSON or a URL may write either, or oftener.

    JSON has ``\/`` and ``\u002F`` for a slash, a URL ``%2F``. What of base64 depends on the
    bytes beside the secret, as a user's name, is left out.
    """
    alone = b64encode(secret.encode()).decode().rstrip("=")
    texts = {secret, alone, alone.translate(_URL_SAFE)}
    length = len(secret.encode())
    for before in range(3):
        whole = b64encode(b"\0" * before + secret.encode()).decode()
        inner = whole[-(-before * 8 // 6) : (before + length) * 8 // 6]
        texts |= {inner, inner.translate(_URL_SAFE)}
    chars = ("".join(map(_char_spellings, text)) for text in sorted(texts, key=len, reverse=True))
    return "|".join(chars)


def _char_spellings(char: str) -> str:
    code = f"{ord(char):02x}"
    return rf"(?:\\{{0,8}}{re.escape(char)}|\\{{1,8}}u00(?i:{code})|%(?:25)*(?i:{code}))"


def _server_of(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _origin(url: httpx2.URL) -> tuple[str, int | None]:
    return url.scheme, url.port  # which is None where it is the scheme's own


def _message(body: object) -> object:
    """A server's own words in the body of an error, without what else it repeats; None if none."""
    if isinstance(body, list) and body and isinstance(body[0], Mapping):  # as Gemini has it
        return _message(body[0].get("error", body[0]))
    return body.get("message") or body.get("detail") if isinstance(body, Mapping) else body


def _will_not_pass(response: httpx2.Response) -> bool:
    """Not implemented; or, as llama-cpp-python says with 500, not valid."""
    body = _json_object(response.text)
    said = response.text if body is None else str(_message(body.get("error", body)))
    return response.status_code == 501 or (
        response.status_code == 500 and "response_format" in said
    )


def _status_within(value: Mapping[str, Any]) -> int | None:
    """The status that OpenRouter, whose own is 200, gives an upstream's failure in the body."""
    error = value.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _broken_off(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """The failure that OpenRouter puts beside the part of an answer that came before it."""
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        return None
    if not (error := choice.get("error")):
        error = "finish_reason is error" if choice.get("finish_reason") == "error" else None
    return {"error": error} if error else None


async def _read(response: httpx2.Response) -> httpx2.Response:
    """`response` with its body, which is read no further than it may be long."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _LONGEST:
                raise _Unusable("answer too long", request=response.request)
    finally:
        await response.aclose()
    headers = response.headers.copy()
    headers.pop("content-encoding", None)  # it is unpacked
    return httpx2.Response(
        response.status_code, headers=headers, content=bytes(body), request=response.request
    )


class _Client(openai.DefaultAsyncHttpxClient):
    def __init__(self, seconds: float, limiter: AsyncLimiter | None, trouble: Tell) -> None:
        super().__init__(event_hooks={"response": [self._stay]})
        self._trouble, self._told = trouble, set[str]()
        self._seconds = seconds
        self._limiter = limiter

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        if self._limiter is not None:
            await self._limiter.acquire()
        try:
            async with asyncio.timeout(self._seconds):
                answered = await super().send(request, stream=True, **options)
                redirects = [one.status_code for one in answered.history]
                response = await _read(answered)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            what, there = "no connection yet", error.request.url
            if self._transport_for_url(there) is not self._transport:
                what += " through the environment's proxy"
            if there.netloc != request.url.netloc:
                what = f"redirected to {_server_of(there)}, and {what}"
            self._tell(what, f" ({str(error) or 'no answer in time'})")
            raise
        except (TimeoutError, httpx2.ReadTimeout):
            self._tell(
                f"no whole answer within {self._seconds:g} s yet",
                f"; {TOO_SLOW}",
            )
            raise httpx2.ReadTimeout("no whole answer in time", request=request) from None
        except (httpx2.RequestError, MemoryError):
            raise
        except Exception as error:  # of a layer below, which the answer has led astray
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            raise httpx2.DecodingError(str(cause), request=request) from error
        if response.request.method != request.method:  # so do clients from a 301, 302 or 303 on
            self._tell_redirected(response.url)
            if response.is_success:  # whatever is said there is no answer
                response.status_code = next(one for one in redirects if one in _DROPPING)
        response.encoding = "utf-8"  # as JSON is; what a header names need not even be an encoding
        if response.is_success:
            value = _json_object(response.text)
            if value is None:
                raise _Unusable("not JSON", request=response.request)
            if (failure := _broken_off(value)) is not None:
                response = httpx2.Response(_PASSING, json=failure, request=response.request)
                value = failure
            response.status_code = _status_within(value) or response.status_code
        if response.status_code >= 500 and _will_not_pass(response):
            response.headers["x-should-retry"] = "false"
        return response

    async def _stay(self, response: httpx2.Response) -> None:
        """Keep a redirect to another server from being followed.

        It would take the row there, and headers of the environment, which may be secret.
        """
        if not response.has_redirect_location:
            return
        with suppress(httpx2.InvalidURL):  # then it is not followed either
            location = httpx2.URL(response.headers["location"])
            here, there = response.url, response.url.join(location)
            upgraded = (_origin(here), _origin(there)) == (("http", None), ("https", None))
            # Of one with a scheme and no host, the client takes this host and another port.
            bare = location.scheme and not location.host
            if bare or there.host != here.host or not (_origin(there) == _origin(here) or upgraded):
                self._tell_redirected(there)
                del response.headers["location"]

    def _tell_redirected(self, there: httpx2.URL) -> None:
        self._tell(
            f"redirected to {_server_of(there)}",
            ", and a redirected question is not asked there; give that as --judge-url",
        )

    def _tell(self, what: str, more: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._trouble(what + more)


class Http:
    """An open client for one server.

    Parameters
    ----------
    base_url : str
        Up to and with ``/v1``.
    key : str or None
        None sends a placeholder, which local servers do not look at.
    timeout : float
        Seconds for one attempt, from the request to the answer's last byte.
    secrets : iterable of str
        What else no file and no message may hold.
    requests_per_minute : float or None
        Attempts are spaced evenly, so that no window of a minute ever holds more.
    trouble : callable
        Told once each that no connection could be made, or an answer took too long, for retries
        may take minutes; and that a redirect dropped the question.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        secrets: Iterable[str] = (),
        timeout: float,
        max_retries: int,
        requests_per_minute: float | None,
        trouble: Tell,
    ) -> None:
        limiter = AsyncLimiter(1, 60 / requests_per_minute) if requests_per_minute else None
        hidden = [one for one in (key, *secrets) if one and len(one) >= _SHORTEST_SECRET]
        self._secret = re.compile("|".join(map(_spellings, hidden))) if hidden else None
        self._keyless = key is None and not urlsplit(base_url).username
        self.client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=base_url,
            timeout=httpx2.Timeout(timeout, connect=min(timeout / 2, _CONNECT)),
            max_retries=max_retries,
            http_client=_Client(timeout, limiter, lambda what: trouble(self._without_secret(what))),
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that ``POST {base_url}{path}`` answers; raises Unanswered."""
        try:
            return self._object(
                await self.client.post(path, cast_to=httpx2.Response, body=dict(body))
            )
        except openai.APIError as error:
            raise self._unanswered(error) from None

    async def reply(self, call: Awaitable[_RawResponse]) -> dict[str, Any]:
        """The JSON object behind one of the client's own methods; raises Unanswered."""
        try:
            return self._object((await call).http_response)
        except openai.APIError as error:
            raise self._unanswered(error) from None

    def _object(self, response: httpx2.Response) -> dict[str, Any]:
        text = response.text
        if self._secret:  # text by text: in JSON as a whole a key of digits could be in a number
            text = _STRING.sub(
                lambda found: json.dumps(self._without_secret(json.loads(found[0]))), text
            )
        value = _json_object(text)
        if value is None:
            raise Unanswered("not JSON")
        if value.get("error"):
            raise Unanswered(ERROR_200, self.said(value["error"]))
        return value

    def _unanswered(self, error: openai.APIError) -> Unanswered:
        if isinstance(error, openai.APITimeoutError):
            unconnected = isinstance(error.__cause__, httpx2.ConnectTimeout)
            return Unanswered(NO_CONNECTION if unconnected else TIMED_OUT)
        if isinstance(error, openai.APIConnectionError):
            why = self.said(str(error.__cause__ or ""))
            if isinstance(error.__cause__, _Unusable):
                return Unanswered(why)
            answered = isinstance(error.__cause__, _ANSWERED) and _NOTHING not in why
            return Unanswered("bad answer" if answered else NO_CONNECTION, why)
        if isinstance(error, openai.APIStatusError):
            status, said = error.status_code, self.said(error.body)
            if after := self.said(error.response.headers.get("retry-after")):
                said = f"{said}, Retry-After: {after}".removeprefix(", ")
            if status == HTTPStatus.UNAUTHORIZED and self._keyless:
                said = f"no API key was sent: {said}".removesuffix(": ")
            if error.code == "insufficient_quota":  # with 429, where 402 would be the word
                return Unanswered(f"HTTP {status}", said, 402)
            wait = status in _BUSY or bool(after)
            return Unanswered(f"HTTP {status}", said, status, wait=wait)
        return Unanswered("error", self.said(error.message))

    def said(self, body: object) -> str:
        """A server's own words, in one line."""
        said = self._without_secret(str(_message(body) or body or ""))
        return printable(" ".join(said.split()), 200)

    def _without_secret(self, text: str) -> str:
        return self._secret.sub("[key]", text) if self._secret else text

    async def aclose(self) -> None:
        await self.client.close()
