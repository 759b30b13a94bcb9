"""aiohttp, tornado, sanic, falcon, bottle, litestar, websockets: each way in is seen."""

import bottle
import falcon
import tornado.web
import websockets
from aiohttp import web
from litestar import Controller, Litestar, get, post
from sanic import Sanic

routes = web.RouteTableDef()
AIO = []
TABLE = []
MIDDLE = []
TORNADO = []
FALCON = []
BOTTLE = []
SANIC = []
STAR = []
CONTROL = []
SOCKETS = []
STARTED = []


@routes.get("/a")
async def a(request):
    AIO.append(request.query["q"])  # finding: SG101[critical]
    request["mine"] = 1


async def b(request):
    TABLE.append(request.query["q"])  # finding: SG101[critical]


@web.middleware
async def middle(request, handler):
    MIDDLE.append(request.path)  # finding: SG101[critical]
    return await handler(request)


async def on_start(app):
    STARTED.append("yes")
    app["db"] = object()


def aio():
    app = web.Application(middlewares=[middle])
    app.add_routes([web.get("/b", b), *routes])
    app.on_startup.append(on_start)
    return app


class Main(tornado.web.RequestHandler):
    def get(self):
        TORNADO.append(self.get_argument("q"))  # finding: SG101[high]
        self.mine = 1


class Thing:
    def on_get(self, req, resp):
        FALCON.append(req.params)  # finding: SG101[critical]
        resp.media = {}


@bottle.route("/c")
def c():
    BOTTLE.append(bottle.request.query.q)  # finding: SG101[high]


sanic = Sanic("x")


@sanic.get("/d")
async def d(request):
    SANIC.append(request.args)  # finding: SG101[critical]


@get("/e")
async def e(q: str) -> str:
    STAR.append(q)  # finding: SG101[critical]
    return q


class Chats(Controller):
    path = "/chats"

    @post("/f")
    async def f(self, data: str) -> str:
        CONTROL.append(data)  # finding: SG101[critical]
        return data


async def socket(websocket):
    async for message in websocket:
        SOCKETS.append(message)  # finding: SG101[critical]


async def serve():
    async with websockets.serve(socket, "localhost", 8765):
        pass


app = Litestar([e, Chats])
api = falcon.App()
api.add_route("/thing", Thing())
