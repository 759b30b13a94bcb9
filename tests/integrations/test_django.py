"""The Django app, in processes of its own: settings are one per process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.integrations.pages import blocks

ROOT = Path(__file__).parents[2]

SETTINGS = """
SECRET_KEY = "only for this test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop_views"
"""

PROGRAM = """
import asyncio, json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
import httpx
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from stateguard.integrations.django import get_guard

try:
    get_guard()
except Exception as error:
    early = type(error).__name__
wsgi, asgi = get_wsgi_application(), get_asgi_application()
with httpx.Client(transport=httpx.WSGITransport(wsgi), base_url="http://testserver") as client:
    answers = [client.get(f"/say/words-{number}").text for number in range(2)]

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://testserver") as client:
        return [answer.text for answer in await asyncio.gather(*(
            client.get(path) for path in ("/async/words-3", "/say/words-4", "/async/words-5")))]

answers += asyncio.run(main())
guard = get_guard()
print(json.dumps({
    "early": early, "answers": answers, "mode": guard.mode,
    "leaks": sorted([leak.path, leak.confidence, leak.severity, leak.request.protocol, leak.request.path]
                    for leak in guard.leaks),
    "failures": guard.engine.failures if guard.engine else {},
}))
"""


def run(directory: Path, **environment: str) -> dict:
    page = blocks("django")
    (directory / "shop_settings.py").write_text(page["settings"] + SETTINGS, "utf-8")
    (directory / "shop_views.py").write_text(page["views"], "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{ROOT / 'src'}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_both_handlers_are_guarded(tmp_path):
    """The page's blocks "django", "settings" and "django", "views"."""
    found = run(tmp_path)
    assert found["early"] == "AppRegistryNotReady"
    assert found["failures"] == {}
    assert found["answers"] == ["noted"] * 5
    assert [leak for leak in found["leaks"] if leak[3] == "wsgi"] == [
        ["shop_views.HEARD", "exact", "high", "wsgi", f"/say/words-{number}"] for number in range(2)
    ]
    assert [(leak[0], leak[4]) for leak in found["leaks"] if leak[3] == "http"] == [
        ("shop_views.HEARD", path) for path in ("/async/words-3", "/async/words-5", "/say/words-4")
    ]


def test_the_environment_switches_it_off(tmp_path):
    found = run(tmp_path, STATEGUARD_MODE="off")
    assert (found["mode"], found["leaks"], len(found["answers"])) == ("off", [], 5)
