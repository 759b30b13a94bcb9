"""Twenty customers talk to a service at the same time; their answers are searched for each other's words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from examples.customers import CUSTOMERS, Customer

TURNS = (
    ("/chat", "Hello, I am {0.name} and my code word is {0.code_word}."),
    ("/chat", "Where are my orders?"),
    ("/chat/stream", "Please remind me what I told you."),
)
"""What each customer says: something to remember, something that needs a tool, something to stream."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, as the customer got it."""

    customer: Customer
    question: str
    text: str
    steps: tuple[str, ...]
    status: int

    @property
    def foreign_words(self) -> tuple[str, ...]:
        """Names, code words and orders in this answer that belong to other customers."""
        others = (word for other in CUSTOMERS if other is not self.customer for word in other.private_words)
        whole = "\n".join((self.text, *self.steps))
        return tuple(word for word in others if re.search(rf"\b{re.escape(word)}\b", whole))


async def converse(url: str, on_reply: Callable[[Reply], None], seconds: float = 45.0) -> list[Reply]:
    """Hold all conversations at once against the service at ``url``.

    ``on_reply`` is called for each answer as it arrives. Raises ``TimeoutError`` after ``seconds``.
    """
    limits = httpx.Limits(max_connections=len(CUSTOMERS))
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(base_url=url, limits=limits, timeout=seconds) as client,
    ):
        talks = (_talk(client, customer, on_reply) for customer in CUSTOMERS)
        return [reply for replies in await asyncio.gather(*talks) for reply in replies]


async def _talk(
    client: httpx.AsyncClient, customer: Customer, on_reply: Callable[[Reply], None]
) -> list[Reply]:
    replies = []
    for path, template in TURNS:
        question = template.format(customer)
        headers = {"authorization": f"Bearer {customer.token}"}
        answer = await client.post(path, json={"message": question}, headers=headers)
        reply = _reply(customer, question, answer)
        on_reply(reply)
        replies.append(reply)
    return replies


def _reply(customer: Customer, question: str, answer: httpx.Response) -> Reply:
    if answer.headers.get("content-type", "").startswith("application/json"):
        body = answer.json()
        return Reply(customer, question, body["reply"], tuple(body["steps"]), answer.status_code)
    return Reply(customer, question, answer.text, (), answer.status_code)
