"""What the tests of every store do with a session: say something, load, save, read what was said."""

from __future__ import annotations

from stateguard import AgentSession
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Terms
from stateguard.sessions.steps import run


def say(text):
    """A change for ``store.update``."""
    return lambda session: session.add_message("user", text) and None


def load(store, session_id="s", factory=AgentSession, user_id=None, log="history"):
    """A checkout of the session, open."""
    checkout = Checkout(session_id, store.policy, Terms(factory, log, user_id))
    run(store, checkout.open())
    return checkout


def save(store, checkout):
    """Save what was checked out."""
    return run(store, checkout.save())


def texts(store, session_id="s"):
    """What has been said in the session."""
    return store.update(session_id, lambda session: [message["content"] for message in session.history])
