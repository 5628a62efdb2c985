"""A game: the first with seven pies wins. Beware of the cat."""

import asyncio
import math
import random
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from micropie import App, FromSession, WebSocket, methods

HERE = Path(__file__).parent
WIDTH, HEIGHT, PIES, GOAL = 12, 8, 4, 7
PLACES = [(x, y) for x in range(WIDTH) for y in range(HEIGHT)]
TICK = 0.15  # seconds
MANY = 50  # players; then those who have left are forgotten
ANIMALS = "🦊🐻🐼🐨🐯🦁🐸🐵🐰🐮"
STEPS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


@dataclass
class Player:
    animal: str
    place: tuple[int, int]
    pies: int = 0
    tabs: int = 0
    wish: tuple[int, int] = (0, 0)  # the next step


class Game:
    """The only truth: the pages send wishes, and draw what they are told."""

    def __init__(self):
        self.players: dict[str, Player] = {}
        self.pies: list[tuple[int, int]] = []
        self.cat, self.turn, self.news = (0, 0), 0, "Get the pies!"
        self.changed = asyncio.Event()

    def present(self):
        return [player for player in self.players.values() if player.tabs]

    def join(self, name):
        """Return the player of this name, who may be back with the pies of before."""
        if name not in self.players:
            if len(self.players) > MANY:
                self.players = {key: player for key, player in self.players.items() if player.tabs}
            self.players[name] = Player(ANIMALS[len(self.players) % len(ANIMALS)], self.free_place())
        return self.players[name]

    def free_place(self):
        taken = {self.cat, *self.pies, *(player.place for player in self.present())}
        return random.choice([place for place in PLACES if place not in taken] or PLACES)

    def step(self):
        self.turn += 1
        while len(self.pies) < PIES:
            self.pies.append(self.free_place())
        for player in self.present():
            player.place, player.wish = walk(player.place, player.wish), (0, 0)
            if player.place in self.pies:
                self.eat(player)
        if self.turn % 3 == 0:  # The cat is slower than everybody, but it never rests.
            near = min(self.present(), key=lambda player: math.dist(player.place, self.cat)).place
            self.cat = min(PLACES, key=lambda place: (math.dist(place, self.cat) > 1, math.dist(place, near)))
        for player in self.present():
            if player.place == self.cat:
                self.news = f"Meow, {player.animal}! 🐈"
                player.pies, self.cat = max(player.pies - 1, 0), (0, 0)

    def eat(self, player):
        self.pies.remove(player.place)
        player.pies += 1
        if player.pies == GOAL:
            self.news = f"{player.animal} wins! 🎉"
            for one in self.players.values():
                one.pies = 0

    def seen_by(self, me):
        players = [[player.animal, *player.place, player.pies, player is me] for player in self.present()]
        return {"players": players, "pies": self.pies, "cat": self.cat, "news": self.news}

    async def run(self):
        """One task for one game, as long as somebody is there."""
        while self.present():
            self.step()
            self.changed.set()
            self.changed = asyncio.Event()  # The next change is another event.
            await asyncio.sleep(TICK)


def walk(place, step):
    there = place[0] + step[0], place[1] + step[1]
    return there if there in PLACES else place


class Arcade(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.game = Game()
        self.task = None

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    @methods("POST")
    async def hello(self) -> None:
        self.request.session.setdefault("player", secrets.token_hex(4))

    async def ws_play(self, ws: WebSocket, player: FromSession[str]):
        me = self.game.join(player)
        me.tabs += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.game.run())
        try:
            await ws.accept()
            await ws.run(self._listen(ws, me), self._show(ws, me))
        finally:
            me.tabs -= 1

    async def _listen(self, ws, me):
        while True:
            me.wish = STEPS.get(await ws.receive_text(), (0, 0))

    async def _show(self, ws, me):
        while True:
            await self.game.changed.wait()
            await ws.send_json(self.game.seen_by(me))


app = Arcade()
