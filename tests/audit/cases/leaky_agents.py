"""A chat service as people write it in a hurry."""

from dataclasses import dataclass, field
from typing import TypedDict

from fastapi import FastAPI
from langchain.memory import ConversationBufferMemory
from langchain_openai import ChatOpenAI

app = FastAPI()


class State(TypedDict):
    messages: list


@dataclass
class Chat:
    system: str
    history: list = field(default_factory=list)
    user: str | None = None

    def ask(self, text):
        self.history.append(text)  # finding: SG106, SG101
        return self.history


@dataclass
class Assistant:
    chat: Chat
    tools: dict = field(default_factory=dict)


SYSTEM = [{"role": "system", "content": "be kind"}]
STATE: State = {"messages": []}
OPTIONS = {"temperature": 0, "stop": []}
chat = Chat("be kind")
assistant = Assistant(Chat("be brief"))
memory = ConversationBufferMemory()
llm = ChatOpenAI()
buffer = ""
last_user, last_text = None, None
token_log = []
sessions = {}
by_room = {"lobby": Chat("hi"), "help": Chat("hello")}


@app.post("/messages")
def messages(text: str):
    conversation = SYSTEM
    conversation.append({"role": "user", "content": text})  # finding: SG101
    return conversation


@app.post("/messages-plus")
def messages_plus(text: str):
    conversation = SYSTEM + [{"role": "user", "content": text}]
    conversation.append(text)
    return conversation


@app.post("/state")
def state(text: str):
    STATE["messages"].append(text)  # finding: SG101


@app.post("/payload")
def payload(text: str):
    request = {"messages": SYSTEM, "user": text}
    request["messages"].append(text)  # also: SG101
    return request


@app.post("/options")
def options(text: str):
    mine = OPTIONS.copy()
    mine["temperature"] = 1
    mine["stop"].append(text)  # finding: SG101
    return mine


@app.post("/ask")
def ask(text: str, user: str):
    chat.user = user  # finding: SG106
    return chat.ask(text)


@app.post("/assistant")
def with_assistant(text: str):
    assistant.chat.ask(text)
    assistant.tools[text] = text  # finding: SG106[low]


@app.post("/memory")
def remember(text: str):
    memory.chat_memory.messages.append(text)  # finding: SG106
    llm.temperature = 1  # finding: SG113
    llm.model_name = text  # finding: SG106


@app.post("/buffer")
def buffered(text: str):
    global buffer, last_user, last_text
    buffer += text  # finding: SG102
    last_user, last_text = text, text  # finding: SG102


@app.post("/session")
def in_session(user: str, text: str):
    session = sessions.setdefault(user, {"history": SYSTEM})  # finding: SG101[low]
    session["history"].append(text)  # also: SG101


@app.post("/room/{room}")
def in_room(room: str, text: str):
    by_room[room].ask(text)


@app.post("/stream")
async def stream(text: str):
    async def tokens():
        for token in text.split():
            token_log.append(token)  # finding: SG101
            yield token

    return tokens()


def collect(item, seen=[], *, index={}):
    seen.append(item)  # finding: SG105
    index["last"] = item  # finding: SG105
    return seen


@app.post("/collect")
def collecting(text: str):
    return collect(text)


class Tools:
    registry = {}
    current = None

    def __init__(self, user):
        self.user = user
        Tools.current = user  # finding: SG104

    def call(self, name):
        self.__class__.last = name  # finding: SG104
        type(self).registry["last"] = self.user  # finding: SG104


@app.post("/tools")
def tools(user: str, name: str):
    Tools(user).call(name)
