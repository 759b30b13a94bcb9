"""Ways to register what serves requests."""

import asyncio
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, WebSocket

LOG = {"startup": []}
ROUTER = []
NESTED = []
DEPENDED = []
YIELDED = []
SOCKET = []
BACKGROUND = []
STREAMED = []
HANDLED = []
SCHEDULED = []
THREADED = []
DECORATED = []
MIDDLE = []
CLASS_DEP = []
STATE = {}


@asynccontextmanager
async def lifespan(app):
    LOG["startup"].append("started")
    app.state.pool = object()
    yield
    LOG["startup"].clear()


app = FastAPI(lifespan=lifespan)
outer = APIRouter(prefix="/outer")
inner = APIRouter(prefix="/inner")


@inner.post("/chat")
async def chat(message: str):
    ROUTER.append(message)  # finding: SG101


@outer.api_route("/both", methods=["POST", "PUT"])
async def both(message: str):
    NESTED.append(message)  # finding: SG101


outer.include_router(inner)
app.include_router(outer)


def current_user(token: str):
    DEPENDED.append(token)  # finding: SG101
    return token


async def database(token: str):
    YIELDED.append(token)  # finding: SG101
    yield token
    YIELDED.remove(token)


class Pager:
    def __init__(self, page: int = 0):
        self.page = page
        CLASS_DEP.append(page)  # finding: SG101


@app.get("/me")
async def me(user=Depends(current_user), db=Depends(database), pager: Pager = Depends()):
    return user


@app.websocket("/ws")
async def socket(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        SOCKET.append(text)  # finding: SG101


def later(message):
    BACKGROUND.append(message)  # finding: SG101


@app.post("/later")
async def background(message: str, tasks):
    tasks.add_task(later, message)


async def stream(message):
    for word in message.split():
        STREAMED.append(word)  # finding: SG101
        yield word


@app.get("/stream")
async def streamed(message: str):
    return [word async for word in stream(message)]


@app.exception_handler(ValueError)
async def on_error(request, error):
    HANDLED.append(str(error))  # finding: SG101


async def scheduled(message):
    SCHEDULED.append(message)  # finding: SG101


@app.post("/schedule")
async def schedule(message: str):
    asyncio.create_task(scheduled(message))


def threaded(message):
    THREADED.append(message)  # finding: SG101


@app.post("/thread")
async def in_thread(message: str):
    await asyncio.to_thread(threaded, message)


def audited(handler):
    async def inner_handler(message: str):
        DECORATED.append(message)  # finding: SG101
        return await handler(message)

    return inner_handler


@app.post("/decorated")
@audited
async def decorated(message: str):
    return message


@app.middleware("http")
async def middle(request, call_next):
    MIDDLE.append(request.url.path)  # finding: SG101
    return await call_next(request)


@app.on_event("startup")
async def started():
    STATE["ready"] = True


@app.post("/state")
async def on_state(request, message: str):
    request.app.state.last = message  # finding: SG107
    request.state.mine = message
