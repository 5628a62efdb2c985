import pytest
from micropie.testing import TestClient

from app import GOAL, Arcade, Game

pytestmark = pytest.mark.asyncio


def game_with(*names):
    game = Game()
    for name in names:
        game.join(name).tabs = 1
    return game


async def test_who_has_enough_pies_wins():
    game = game_with("one", "two")
    game.cat, game.turn = (11, 7), 0
    player, other = game.players.values()
    other.place, other.pies = (11, 0), 2
    for _ in range(GOAL):
        player.place, player.wish, game.pies = (0, 0), (1, 0), [(1, 0)]
        game.cat = (11, 7)
        game.step()
    assert game.news == f"{player.animal} wins! 🎉"
    assert (player.pies, other.pies) == (0, 0)


async def test_the_cat_comes_for_a_pie():
    game = game_with("one")
    player = game.players["one"]
    player.place, player.pies, game.pies = (3, 0), 2, [(11, 7)] * 4
    for _ in range(9):  # It makes a step in every third turn.
        game.step()
    assert (game.news, player.pies, game.cat) == (f"Meow, {player.animal}! 🐈", 1, (0, 0))


async def test_nobody_leaves_the_board():
    game = game_with("one")
    player = game.players["one"]
    player.place, player.wish, game.cat = (0, 0), (-1, 0), (11, 7)
    game.step()
    assert player.place == (0, 0)


async def test_two_play():
    app = Arcade()
    async with TestClient(app) as one, TestClient(app) as two:
        await one.post("/hello")
        await two.post("/hello")
        async with one.websocket("/play") as ws, two.websocket("/play") as other:
            while len((await ws.receive_json())["players"]) < 2:
                pass
            seen = (await other.receive_json())["players"]
            assert [me for *_, me in seen] == [False, True]
        async with TestClient(app) as stranger, stranger.websocket("/play?player=one") as refused:
            assert refused.response.status_code == 401
