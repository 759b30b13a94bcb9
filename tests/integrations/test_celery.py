"""Celery tasks, run by a real worker in this process, and eagerly."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.result import allow_join_result

from stateguard import Guard, session
from stateguard.errors import ConfigError, SharedStateMutated
from stateguard.integrations.celery import GuardedTask, guard_tasks

pytestmark = [
    pytest.mark.timeout(60),
    # Celery's worker and kombu's in-memory transport leave these to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def broker(app: Celery) -> Celery:
    app.conf.update(
        broker_url="memory://",
        broker_transport_options={"polling_interval": 0.02},
        result_backend="cache+memory://",
        worker_hijack_root_logger=False,
    )
    return app


def test_a_worker_runs_guarded_tasks(page):
    module = page("celery", "tasks")
    guard = module.guard
    with (
        start_worker(broker(module.app), pool="threads", concurrency=2, perform_ping_check=False),
        allow_join_result(),
    ):
        results = [module.confirm.delay(f"customer-{number}") for number in range(2)]
        assert sorted(result.get(timeout=20) for result in results) == [1, 2]
    assert guard.engine.failures == {}
    found = [leak for leak in guard.leaks if leak.path == f"{module.__name__}.DONE"]
    asked = {result.id for result in results}
    for leak in found:
        suspects = [leak.request] if leak.request else leak.suspects
        assert {request.id for request in suspects} <= asked
        assert {request.path for request in suspects} == {module.confirm.name}
    assert len(found) == 2
    guard.close()


def test_the_request_of_a_task_and_its_retries_are_what_they_were(state):
    app = broker(Celery("shop"))
    guard = guard_tasks(app, watch=[state.__name__])

    @app.task(bind=True, max_retries=2)
    def flaky(self, text):
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        assert self.request.args == [text] or self.request.args == (text,)
        return self.request.retries, session().session_id

    with start_worker(app, pool="solo", perform_ping_check=False), allow_join_result():
        retries, first = flaky.delay("a").get(timeout=20)
        _, second = flaky.delay("b").get(timeout=20)
    assert retries == 2
    assert first != second
    assert guard.leaks == []
    guard.close()


def test_raise_mode_fails_the_task(state):
    app = broker(Celery("shop"))
    guard = guard_tasks(app, watch=[state.__name__], on_leak="raise")

    @app.task
    def leaks(text):
        state.leak(text)

    app.conf.task_always_eager = True
    result = leaks.delay("my-words")
    with pytest.raises(SharedStateMutated, match="HISTORY"):
        result.get()
    with pytest.raises(SharedStateMutated):
        leaks("called directly")
    assert [leak.severity for leak in guard.leaks] == ["critical", "critical"]
    guard.close()


def test_what_cannot_work_is_refused():
    app = Celery("shop")

    @app.task
    def early():
        pass

    app.finalize()
    with pytest.raises(ConfigError, match="before tasks are defined"):
        guard_tasks(app, mode="scope-only")
    with pytest.raises(ConfigError, match="either guard="):
        guard_tasks(Celery("other"), guard=Guard(mode="off"), mode="off")


def test_the_task_class_alone(state, monkeypatch):
    monkeypatch.setenv("STATEGUARD_WATCH", state.__name__)
    monkeypatch.setattr(GuardedTask, "guard", None)
    app = broker(Celery("shop", task_cls="stateguard.integrations.celery:GuardedTask"))

    @app.task
    def leaks():
        state.leak()

    leaks()
    assert [leak.request.method for leak in GuardedTask.guard.leaks] == ["TASK"]
    GuardedTask.guard.close()
