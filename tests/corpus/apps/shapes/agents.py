"""Agents, their memories, tools and clients, made once when the service starts."""

import asyncio
import functools
import heapq
import io
import queue
from collections import deque


class Memory:
    def __init__(self, limit=None):
        self.turns = []
        self.window = deque(maxlen=limit)

    def add(self, text):
        self.turns.append({"role": "user", "content": text})  # LEAK memory


class Agent:
    def __init__(self, memory=None):
        self.memory = memory or Memory(limit=2)
        self.scratchpad = io.StringIO()
        self.prompt = "You are helpful."


AGENT = Agent()
TOOLS = {}
CLIENTS = {}
PENDING = asyncio.Queue()
EVENTS = queue.Queue()
PRIORITIES = []
HOOKS = []
ASK = functools.partial(print, "question", {"user": None})


def agent_memory(user):
    AGENT.memory.add(user)


def memory_window(user):
    AGENT.memory.window.append(user)  # LEAK window


def scratchpad(user):
    print(f"thinking about {user}", file=AGENT.scratchpad)  # LEAK scratchpad


def system_prompt(user):
    AGENT.prompt += f" You talk to {user}."  # LEAK prompt


def tool(name):
    def register(function):
        TOOLS[name] = function  # LEAK tool
        return function

    return register


@tool("whoami")
def nobody():
    return "nobody"


def tool_bound_to_a_user(user):
    @tool("whoami")
    def whoami():
        return user


class Client:
    def __init__(self, token):
        self.token = token


def client_for(tenant, token):
    client = CLIENTS.setdefault(tenant, Client(token))
    client.token = token  # LEAK client
    return client


client_for("default", "none")


def client_under_the_wrong_key(user):
    client_for("default", f"token of {user}")


def queue_of_all_answers(user):
    PENDING.put_nowait(f"answer for {user}")  # LEAK pending


def queue_of_threads(user):
    EVENTS.put(f"event of {user}")  # LEAK events


def heap(user):
    heapq.heappush(PRIORITIES, (1, user))  # LEAK heap


def hook(user):
    HOOKS.append(lambda event: (user, event))  # LEAK hook


def partial_object(user):
    ASK.args[1]["user"] = user  # LEAK partial


def conversation():
    heard = []
    while True:
        heard.append((yield heard))  # LEAK generator


CONVERSATION = conversation()
next(CONVERSATION)


def generator(user):
    CONVERSATION.send(user)
