"""Module-level instances."""

from types import SimpleNamespace

from fastapi import Depends, FastAPI
from langchain.memory import ConversationBufferMemory

app = FastAPI()


class Memory:
    def __init__(self):
        self.messages = []
        self.size = 0


class Agent:
    def __init__(self, name):
        self.name = name
        self.memory = Memory()
        self.user = None
        self._index = None
        self.calls = 0
        self.results = {}

    def ask(self, text):
        self.calls += 1
        self.memory.messages.append(text)  # finding: SG106
        return self.index

    def act_for(self, user):
        self.user = user  # finding: SG106

    @property
    def index(self):
        if self._index is None:
            self._index = {}
        return self._index

    def lookup(self, key):
        if key not in self.results:
            self.results[key] = key.upper()
        return self.results[key]


agent = Agent("one")
chain = ConversationBufferMemory()
options = SimpleNamespace(user=None)
AGENTS = {"writer": Agent("two")}


def get_agent():
    return agent


class Service:
    def __init__(self):
        self.last = None

    def remember(self, text):
        self.last = text  # finding: SG106


service = Service()


def get_service() -> Service:
    return service


@app.post("/ask")
def ask(text: str, user: str):
    get_agent().act_for(user)
    agent.lookup(text)
    chain.chat_memory.messages.append(text)  # finding: SG106
    options.user = user  # finding: SG106
    AGENTS["writer"].memory.messages.append(text)  # finding: SG101
    return agent.ask(text)


@app.post("/service")
def with_service(text: str, svc: Service = Depends(get_service)):
    svc.remember(text)
    handler_calls(text)


def handler_calls(text):
    handler_calls.last = text  # finding: SG106


@app.post("/own")
def own(text: str):
    mine = Agent("three")
    mine.ask(text)
    mine.user = text
    return mine
