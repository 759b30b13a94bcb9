"""langchain-ai/langchain#11650: one conversation memory on a module-level chain serves every user."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class BufferMemory:
    def __init__(self):
        self.messages = []

    def save(self, user, answer):
        self.messages.append(("human", user))  # LEAK
        self.messages.append(("ai", answer))  # LEAK


class ConversationChain:
    def __init__(self, memory):
        self.memory = memory

    def predict(self, text):
        answer = f"{len(self.memory.messages)} earlier messages; you said {text}"
        self.memory.save(text, answer)
        return answer


CHAIN = ConversationChain(memory=BufferMemory())
write = CHAIN.predict
app = Wsgi()


@app.route("/chat")
def chat(request: Request):
    answer = CHAIN.predict(request.user)
    hold(request.id)
    return answer


@app.route("/read")
def read(request: Request):
    hold(request.id)
    return f"{len(CHAIN.memory.messages)} messages"
