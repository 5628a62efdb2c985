from urllib.parse import parse_qs

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from common import SECRET, block, gates, note, open_gate, pieces, told
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY=SECRET,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    LOGGING_CONFIG=None,
)
django.setup()


async def opens(request, name):
    return HttpResponse(open_gate(name))


async def need(request):
    return HttpResponse(request.GET["name"])


async def body(request):
    return HttpResponse(str(len(request.body)))


async def stream(request):
    return StreamingHttpResponse(pieces())


def blocks(request):
    return HttpResponse(block())


async def remember(request, key):
    await request.session.aset(key, "yes")
    if key == "slow":
        note("remember", "begun")
        await gates["remember"].wait()
    return HttpResponse("")


async def session(request):
    return HttpResponse(" ".join(sorted(await request.session.akeys())))


urlpatterns = [
    path("open/<name>", opens),
    path("need", need),
    path("body", body),
    path("stream", stream),
    path("block", blocks),
    path("remember/<key>", remember),
    path("session", session),
]


class Early(AsyncWebsocketConsumer):
    async def connect(self):
        raise ValueError("before accept")


class Silent(AsyncWebsocketConsumer):
    async def connect(self):
        pass


class Fails(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        raise ValueError("after accept")


class Named(AsyncWebsocketConsumer):
    async def connect(self):
        name = parse_qs(self.scope["query_string"].decode())["name"][0]
        await self.accept()
        await self.send(text_data=name)


class Listen(AsyncWebsocketConsumer):
    async def disconnect(self, code):
        note("left", f"disconnect(), code {code}")


class Tell(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await gates["tell"].wait()
        try:
            for _ in range(3):
                await self.send(text_data="Still there?")
        except Exception as error:
            note("tell", told(error))
            raise
        else:
            note("tell", "no error")


class Text(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=repr(bytes_data if text_data is None else text_data))


class Size(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=str(len(bytes_data)))


CONSUMERS = (Early, Silent, Fails, Named, Listen, Tell, Text, Size)

# As the tutorial of Channels has it, with the check of the origin.
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(
            URLRouter([path(one.__name__.lower(), one.as_asgi()) for one in CONSUMERS])
        ),
    }
)
