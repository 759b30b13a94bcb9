"""Process settings and clients."""

import os

import httpx
import openai
import requests
from fastapi import FastAPI

app = FastAPI()
client = httpx.AsyncClient()
http = requests.Session()

os.environ["STARTED"] = "yes"


@app.post("/ask")
async def ask(token: str, key: str):
    openai.api_key = key  # finding: SG113
    os.environ["API_TOKEN"] = token  # finding: SG113
    client.headers["Authorization"] = token  # finding: SG113
    http.headers.update({"Authorization": token})  # finding: SG113
    http.auth = ("user", token)  # finding: SG113
    own = requests.Session()
    own.headers["Authorization"] = token
    own.auth = ("user", token)
    return await client.get("/", headers={"Authorization": token})


@app.get("/where")
def where(directory: str):
    os.chdir(directory)  # finding: SG113
    return os.environ.get("HOME")


@app.on_event("startup")
def configure():
    openai.api_key = os.environ["OPENAI_API_KEY"]
