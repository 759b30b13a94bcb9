"""Signed ids: what is accepted, what is refused, what the client gets."""

from __future__ import annotations

import logging
import time

import pytest

from stateguard.errors import ConfigError, SessionDenied, SessionIdRefused
from stateguard.sessions import Request, SignedCookie, SignedHeader, UnsignedHeader, bind
from stateguard.sessions.identity import from_asgi, from_wsgi, ids
from stateguard.sessions.memory import MemoryStore

SECRET = "a secret of at least 16 bytes"


def request(is_secure=False, **headers):
    return Request({name.replace("_", "-"): value for name, value in headers.items()}, is_secure, {})


def cookie_of(source, identity, **options):
    ((name, value),) = source.headers(identity, request(**options))
    assert name == "Set-Cookie"
    return value


def test_cookie_round_trip():
    source = SignedCookie(SECRET)
    first = source.read(request())
    assert first.is_new
    text = cookie_of(source, first)
    assert "HttpOnly" in text
    assert "SameSite=Lax" in text
    assert "Secure" not in text
    assert "Secure" in cookie_of(source, first, is_secure=True)
    pair = text.partition(";")[0]
    again = source.read(request(cookie=f"theme=dark; {pair}; x=y"))
    assert (again.id, again.is_new, again.is_stale) == (first.id, False, False)
    assert source.headers(again, request()) == []
    assert "Max-Age=0" in source.forget(request())[0][1]


def test_ids_are_not_guessable():
    source = SignedCookie(SECRET)
    found = {source.read(request()).id for _ in range(100)}
    assert len(found) == 100
    assert min(map(len, found)) >= 32


@pytest.mark.parametrize(
    "forge",
    [
        lambda value: "victim",
        lambda value: "victim." + value.partition(".")[2],
        lambda value: value[:-1],
        lambda value: value + "A",
        lambda value: "",
        lambda value: "." * 50,
        lambda value: "é\x00\udcff",
        lambda value: "x" * 100_000,
    ],
)
def test_a_forged_cookie_is_a_new_session_and_logged(forge, caplog):
    source = SignedCookie(SECRET)
    first = source.read(request())
    value = cookie_of(source, first).partition(";")[0].partition("=")[2]
    with caplog.at_level(logging.WARNING, "stateguard.sessions"):
        found = source.read(request(cookie=f"stateguard_session={forge(value)}"))
    assert found.is_new
    assert found.id != first.id
    assert "no valid signature" in caplog.text


def test_the_id_in_the_cookie_of_another_purpose_is_not_accepted():
    header, cookie = SignedHeader(SECRET), SignedCookie(SECRET)
    value = header.sign("abc")
    assert cookie.read(request(cookie=f"stateguard_session={value}")).is_new
    other = SignedCookie(SECRET, name="other")
    text = cookie_of(other, other.read(request())).partition(";")[0].replace("other=", "stateguard_session=")
    assert cookie.read(request(cookie=text)).is_new


def test_secrets_can_be_rotated():
    old, new = SignedCookie(SECRET), SignedCookie([SECRET, "the newer secret, as long"])
    identity = old.read(request())
    pair = cookie_of(old, identity).partition(";")[0]
    assert new.read(request(cookie=pair)).id == identity.id
    pair = cookie_of(new, identity).partition(";")[0]
    assert old.read(request(cookie=pair)).is_new


def test_cookie_ages():
    source = SignedCookie(SECRET, max_age=2)
    identity = source.read(request())
    pair = cookie_of(source, identity).partition(";")[0]
    time.sleep(2.1)  # the time stamp counts whole seconds
    assert SignedCookie(SECRET, max_age=1).read(request(cookie=pair)).is_new
    aged = SignedCookie(SECRET, max_age=4).read(request(cookie=pair))
    assert (aged.id, aged.is_stale) == (identity.id, True)
    assert source.headers(aged, request())


def test_header():
    source = SignedHeader(SECRET)
    first = source.read(request())
    assert first.is_new
    ((name, value),) = source.headers(first, request())
    assert name == "X-Session-ID"
    assert source.read(request(x_session_id=value)).id == first.id
    assert source.headers(source.read(request(x_session_id=value)), request()) == []
    for forged in (first.id, "victim", value[:-2], "victim." + value.partition(".")[2], "é"):
        with pytest.raises(SessionIdRefused, match="signature"):
            source.read(request(x_session_id=forged))
    with pytest.raises(SessionIdRefused, match="expired"):
        SignedHeader(SECRET, max_age=-1).read(request(x_session_id=value))


def test_raw_ids_only_on_purpose():
    with pytest.raises(ConfigError, match="trust_clients=True"):
        UnsignedHeader()
    source = UnsignedHeader(trust_clients=True)
    assert source.read(request(x_session_id="raw")).id == "raw"
    assert source.read(request()).is_new
    for raw in ("X-Session-ID", None, 5):
        with pytest.raises(ConfigError, match="SignedCookie"):
            bind(MemoryStore(), raw)
    assert ids(lambda request: "mine").read(request()).id == "mine"
    assert ids(lambda request: None).read(request()).is_new


@pytest.mark.parametrize("secret", ["", "short", [], ["short", SECRET]])
def test_short_secrets(secret):
    with pytest.raises(ConfigError, match="16 bytes"):
        SignedCookie(secret)


def test_options_without_a_store():
    assert bind(None, None) is None
    with pytest.raises(ConfigError, match="store="):
        bind(None, SignedCookie(SECRET))
    with pytest.raises(ConfigError, match="MemoryStore"):
        bind("redis://localhost", SignedCookie(SECRET))
    with pytest.raises(ConfigError, match="on_store_error"):
        bind(MemoryStore(), SignedCookie(SECRET), on_store_error="ignore")
    with pytest.raises(ConfigError, match="user_id"):
        bind(MemoryStore(), SignedCookie(SECRET), user_id="ada")

    async def later(request):
        return "ada"

    with pytest.raises(ConfigError, match="user_id= is a coroutine function"):
        bind(MemoryStore(), SignedCookie(SECRET), user_id=later)
    with pytest.raises(ConfigError, match="session_id= is a coroutine function"):
        bind(MemoryStore(), later)


def test_requests_of_both_kinds():
    scope = {
        "type": "http",
        "scheme": "https",
        "headers": [(b"Cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-session-id", b"\xff")],
    }
    found = from_asgi(scope)
    assert (found.cookie("a"), found.cookie("b"), found.cookie("c"), found.is_secure) == (
        "1",
        "2",
        None,
        True,
    )
    found = from_wsgi(
        {"HTTP_COOKIE": "a=1;;=; b", "HTTP_X_SESSION_ID": "s", "wsgi.url_scheme": "http", "X": 1}
    )
    assert (found.cookie("a"), found.cookie("b"), found.headers["x-session-id"]) == ("1", None, "s")
    assert from_asgi({"type": "websocket"}).kind == "websocket"


def test_a_forged_cookie_beside_the_real_one_locks_nobody_out():
    source = SignedCookie(SECRET)
    first = source.read(request())
    pair = cookie_of(source, first).partition(";")[0]
    for header in (f"stateguard_session=forged; {pair}", f"{pair}; stateguard_session=forged"):
        assert source.read(request(cookie=header)).id == first.id


@pytest.mark.parametrize(
    "options",
    [
        {"same_site": "none"},
        {"same_site": "None"},
        {"same_site": "None", "secure": False},
        {"name": "__Host-session"},
        {"name": "__Host-session", "secure": True, "domain": "example.org"},
        {"name": "__Host-session", "secure": True, "path": "/app"},
        {"name": "__Secure-session"},
        {"name": "a b"},
        {"path": "/; Domain=example.org"},
        {"domain": "example.org\r\nX-Evil: 1"},
    ],
)
def test_cookies_that_no_browser_would_keep(options):
    with pytest.raises(ConfigError, match="SignedCookie"):
        SignedCookie(SECRET, **options)


def test_cookie_attributes():
    source = SignedCookie(SECRET, name="__Host-s", secure=True, same_site="Strict")
    text = cookie_of(source, source.read(request()))
    assert text.startswith("__Host-s=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(text.split("; "))
    source = SignedCookie(SECRET, secure=True, same_site="None", domain="example.org", path="/app")
    text = cookie_of(source, source.read(request()))
    assert {"Secure", "HttpOnly", "SameSite=None", "Path=/app", "Domain=example.org"} <= set(text.split("; "))


def test_user_ids_that_are_no_text(make_store):
    store = make_store()
    with pytest.raises(SessionIdRefused, match="user id"):
        store.update("s", lambda session: None, user_id="\udcff")
    for user in ("a\0b", "=x", " ", "é" * 3000, "NULL", "'; drop table x; --"):
        store.update(f"s of {len(user)}", lambda s: s.add_message("user", "x") and None, user_id=user)
        with pytest.raises(SessionDenied):
            store.update(f"s of {len(user)}", lambda s: None, user_id=user + "x")
        store.delete(f"s of {len(user)}")


def test_users_that_are_nobody_and_objects_that_are_no_ids(make_store):
    store = make_store()
    for nobody in (None, "", False):
        store.update("s", lambda s: s.add_message("user", "x") and None, user_id=nobody)
    store.update("s", lambda s: s.add_message("user", "x") and None, user_id=0)
    for other in (None, False, 1):
        with pytest.raises(SessionDenied):
            store.update("s", lambda s: None, user_id=other)
    store.update("s", lambda s: None, user_id="0")
    with pytest.raises(ConfigError, match="stays the same"):
        store.update("s", lambda s: None, user_id=object())
