"""The example services, one process each: what leaks, what does not, and that they work at all."""

import asyncio
import signal
from collections.abc import Iterator

import httpx
import pytest

from examples.customers import CUSTOMERS
from examples.load import converse
from examples.messages_api import MessagesAPI
from examples.outcome import FAULTS, Outcome
from examples.service import Service, ServiceError

LEAKING = ["examples.chat_starlette.leaking.app", "examples.chat_flask.leaking"]
REPAIRED = ["examples.chat_starlette.repaired.app", "examples.chat_flask.repaired"]
AMELIA, BRUNO = CUSTOMERS[:2]


@pytest.fixture(scope="module")
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI(latency=0.01) as server:
        yield server


@pytest.fixture
def environment(api: MessagesAPI) -> dict[str, str]:
    api.received.clear()
    return {"ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "local"}


def ask(client: httpx.Client, customer, message: str, path: str = "/chat") -> str:
    headers = {"authorization": f"Bearer {customer.token}"}
    return client.post(path, json={"message": message}, headers=headers).raise_for_status().text


@pytest.mark.parametrize("module", LEAKING)
def test_every_fault_is_found_and_customers_read_each_others_words(
    module: str, environment: dict[str, str], api: MessagesAPI
) -> None:
    with Service(module, environment) as service:
        replies = asyncio.run(converse(service.url, lambda reply: None))
    outcome = Outcome(module, tuple(replies), service.findings, service.log, tuple(api.received))
    assert not outcome.failed
    assert outcome.bled
    assert {fault for fault in FAULTS if outcome.leaks_of(fault)} == set(FAULTS), outcome.leaks
    others = [leak["path"] for leak in outcome.leaks if not any(fault in leak["path"] for fault in FAULTS)]
    assert not others, "no finding beside the five faults"


@pytest.mark.parametrize("module", REPAIRED)
def test_the_repaired_twin_leaks_nothing_under_the_same_load(
    module: str, environment: dict[str, str], api: MessagesAPI
) -> None:
    with Service(module, environment) as service:
        replies = asyncio.run(converse(service.url, lambda reply: None))
    outcome = Outcome(module, tuple(replies), service.findings, service.log, tuple(api.received))
    assert outcome.clean, (outcome.leaks, outcome.failed, outcome.tainted, outcome.wrong_name)
    assert service.log == ""


@pytest.mark.parametrize("module", REPAIRED)
def test_the_repaired_twin_still_remembers_its_own_customer(module: str, environment: dict[str, str]) -> None:
    with Service(module, environment) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        ask(client, AMELIA, f"Hello, I am Amelia and my code word is {AMELIA.code_word}.")
        ask(client, BRUNO, "Hello, I am Bruno.")
        assert AMELIA.order in ask(client, AMELIA, "Where are my orders?")
        reminded = ask(client, AMELIA, "Please remind me what I told you.", "/chat/stream")
        assert AMELIA.code_word in reminded
        assert AMELIA.code_word not in ask(client, BRUNO, "Please remind me what I told you.")


@pytest.mark.parametrize("module", [*LEAKING, *REPAIRED])
def test_strangers_are_turned_away(module: str, environment: dict[str, str]) -> None:
    with Service(module, environment) as service:
        answer = httpx.post(f"{service.url}/chat", json={"message": "Hi"}, timeout=20)
    assert answer.status_code == 401


def test_waitress_stops_where_a_shell_has_started_it_in_the_background(environment: dict[str, str]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for `python -m examples &` in a script
    try:
        with Service("examples.chat_flask.repaired", environment) as service:
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert service.findings["leaks"] == []


def test_a_service_that_does_not_start_says_why(environment: dict[str, str]) -> None:
    with pytest.raises(ServiceError, match="No module named"), Service("examples.nothing", environment):
        pass
