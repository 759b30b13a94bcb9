"""MCP servers, agent tools, chat clients."""

import threading
from contextvars import ContextVar
from functools import cache, cached_property, lru_cache, partial

import httpx
import openai
from fastapi import FastAPI, Request
from mcp.server.fastmcp import FastMCP

mcp = FastMCP("notes")
app = FastAPI()
client = openai.OpenAI()
http = httpx.Client()
NOTES = []
PROMPTS = {}
user_var: ContextVar[dict] = ContextVar("user", default={})
name_var: ContextVar[str] = ContextVar("name", default="")
local = threading.local()
TOOLS = {}


@mcp.tool()
def note(text: str) -> str:
    NOTES.append(text)  # finding: SG101
    return text


@mcp.resource("notes://all")
def notes() -> str:
    PROMPTS["last"] = "all"  # finding: SG101
    return str(NOTES)


def register(name):
    def inner(function):
        TOOLS[name] = function
        return function

    return inner


@register("search")
def search(query):
    return query


class Agent:
    def __init__(self, model):
        self.model = model
        self.messages = []
        self.usage = 0

    def run(self, text):
        self.messages.append({"role": "user", "content": text})  # finding: SG106
        self.usage += 1
        return self.messages

    async def stream(self, text):
        for part in text.split():
            self.messages.append(part)  # also: SG106
            yield part


agent = Agent("small")
AGENTS = {"writer": Agent("large")}


@app.post("/run")
def run(text: str):
    return agent.run(text)


@app.post("/stream")
async def stream(text: str):
    return [part async for part in agent.stream(text)]


@app.post("/writer")
def writer(text: str):
    AGENTS["writer"].messages.append(text)  # finding: SG101


@app.post("/own")
def own(text: str):
    mine = Agent("small")
    return mine.run(text)


@app.post("/key")
def key(request: Request):
    openai.api_key = request.headers["x-key"]  # finding: SG113
    client.api_key = request.headers["x-key"]  # finding: SG113
    http.headers["authorization"] = request.headers["x-key"]  # finding: SG113
    http.headers.update({"x": request.headers["x-key"]})  # also: SG113


@app.post("/key-own")
def key_own(request: Request):
    mine = openai.OpenAI(api_key=request.headers["x-key"])
    mine.api_key = request.headers["x-key"]
    with httpx.Client() as one:
        one.headers["authorization"] = request.headers["x-key"]


@app.post("/var")
def var(request: Request):
    user_var.get()["name"] = request.headers["x-name"]  # finding: SG108
    name_var.set(request.headers["x-name"])


@app.post("/local")
async def in_local(request: Request):
    local.user = request.headers["x-user"]  # finding: SG111


@lru_cache(maxsize=None)
def stop_words(language):
    return ["the", "a"]


@cache
def limits(language):
    return (1, 2)


@app.post("/words")
def words(text: str):
    found = stop_words("en")
    found += text.split()  # finding: SG109
    return found


@app.post("/limits")
def limited(text: str):
    found = list(stop_words("en"))
    found.append(text)
    return limits("en")


def handle(store, text):
    store.append(text)  # finding: SG101


HANDLED = []
app.add_api_route("/handle", partial(handle, HANDLED), methods=["POST"])
