"""Kludex/starlette PR #1173: the default task list is shared; tasks run after the response has been sent."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Reply, Request


class BackgroundTasks:
    def __init__(self, tasks=[]):
        self.tasks = tasks

    def add(self, job):
        self.tasks.append(job)  # LEAK

    async def run(self):
        for job in list(self.tasks):
            await job()


app = Asgi()


def write(job):
    background = BackgroundTasks()
    background.add(job)
    return background


@app.route("/order")
async def order(request: Request):
    async def mail():
        await hold_async(request.id)

    background = write(mail)
    return Reply("ordered", after=background.run)


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
