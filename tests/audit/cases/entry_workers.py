"""Queues, bots, RPC, GraphQL, dashboards, functions in the cloud."""

import gradio as gr
import socketio
import strawberry
from celery import Celery, shared_task
from channels.generic.websocket import AsyncWebsocketConsumer
from dash import Dash, Input, Output
from graphene import ObjectType
from telegram.ext import Application, CommandHandler

celery = Celery("x")
sio = socketio.AsyncServer()
dash = Dash("x")
TASKS = []
SHARED = []
EVENTS = []
DASH = []
GRADIO = []
BOT = []
CONSUMED = []
RESOLVED = []
BERRY = []
LAMBDA = []
GRPC = []


@celery.task
def work(user):
    TASKS.append(user)  # finding: SG101[critical]


@shared_task(bind=True)
def shared(self, user):
    SHARED.append(user)  # finding: SG101[critical]


@sio.event
async def connect(sid, environ):
    EVENTS.append(sid)  # finding: SG101[critical]


@sio.on("chat")
async def chat(sid, data):
    EVENTS.append(data)  # also: SG101


@dash.callback(Output("a", "children"), Input("b", "value"))
def show(value):
    DASH.append(value)  # finding: SG101[critical]
    return value


def respond(message, history):
    GRADIO.append(message)  # finding: SG101[critical]
    history.append(message)
    return history


gr.ChatInterface(respond).launch()


async def start(update, context):
    BOT.append(update.message.text)  # finding: SG101[critical]
    context.user_data["x"] = 1


def bot():
    app = Application.builder().build()
    app.add_handler(CommandHandler("start", start))
    return app


class Room(AsyncWebsocketConsumer):
    async def receive(self, text_data):
        CONSUMED.append(text_data)  # finding: SG101[critical]
        self.last = text_data


class Query(ObjectType):
    def resolve_user(self, info, name):
        RESOLVED.append(name)  # finding: SG101[critical]
        return name


@strawberry.type
class Berry:
    @strawberry.field
    def user(self, name: str) -> str:
        BERRY.append(name)  # finding: SG101[critical]
        return name


def handler(event, context):
    LAMBDA.append(event["user"])  # finding: SG101[critical]


class GreeterServicer:
    def SayHello(self, request, context):
        GRPC.append(request.name)  # finding: SG101[critical]
