from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from micropie.testing import TestClient

from app import Bakery

pytestmark = pytest.mark.asyncio

APPLE = {"pie": "apple", "size": "small", "day": "2026-12-24", "toppings": ["cream", "nuts"]}
CHERRY = {"pie": "cherry", "size": "large", "day": "2026-12-23", "toppings": ["cream"]}
TOO_MUCH = "A pie has 1 to 40 characters, and at most 5 toppings of 40."


@pytest_asyncio.fixture
async def client():
    async with TestClient(Bakery()) as client:
        yield client


async def test_an_order_from_its_beginning_to_its_end(client):
    answer = await client.post("/order", json=APPLE)
    assert answer.status_code == 201
    order = answer.json()
    assert order == {"id": str(UUID(order["id"])), **APPLE}
    changed = await client.patch(f"/change/{order['id']}", json={"size": "medium"})
    assert changed.json() == {**order, "size": "medium"}
    assert (await client.get("/orders")).json() == [changed.json()]
    assert (await client.delete(f"/cancel/{order['id']}")).status_code == 204
    assert (await client.get("/orders")).json() == []


@pytest.mark.parametrize(
    ("query", "pies"),
    [
        ("", ["cherry", "apple"]),
        ("?sort=pie", ["apple", "cherry"]),
        ("?size=small", ["apple"]),
        ("?topping=cream", ["cherry", "apple"]),
        ("?topping=cream&topping=nuts", ["apple"]),
        ("?size=large&topping=nuts", []),
    ],
)
async def test_a_list_of_some(client, query, pies):
    for order in (APPLE, CHERRY):
        await client.post("/order", json=order)
    assert [order["pie"] for order in (await client.get(f"/orders{query}")).json()] == pies


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/order", {}, 400, "the parameter 'pie' is missing"),
        (
            "POST",
            "/order",
            APPLE | {"size": "huge"},
            400,
            "the parameter 'size' must be one of small, medium, large",
        ),
        (
            "POST",
            "/order",
            APPLE | {"day": "soon"},
            400,
            "the parameter 'day' must be a date such as 2026-01-31",
        ),
        (
            "POST",
            "/order",
            APPLE | {"toppings": [1]},
            400,
            "the parameter 'toppings' must be a list (each text)",
        ),
        ("POST", "/order", APPLE | {"pie": ""}, 400, TOO_MUCH),
        ("POST", "/order", APPLE | {"pie": "x" * 41}, 400, TOO_MUCH),
        ("POST", "/order", APPLE | {"toppings": ["nuts"] * 6}, 400, TOO_MUCH),
        ("POST", "/order", APPLE | {"toppings": ["x" * 41]}, 400, TOO_MUCH),
        ("GET", "/orders?sort=price", None, 400, "the parameter 'sort' must be one of day, pie"),
        ("GET", "/order", None, 405, "Method Not Allowed"),
        ("PATCH", "/change/first", {}, 404, "Not Found"),
        ("DELETE", f"/cancel/{uuid4()}", None, 404, "There is no such order."),
        ("GET", "/nothing", None, 404, "Not Found"),
    ],
)
async def test_a_mistake_is_answered_in_json(client, method, path, body, status, error):
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.json() == {"status": status, "error": error}


async def test_the_oven_is_full_at_a_hundred(client):
    answers = [(await client.post("/order", json=APPLE)).status_code for _ in range(101)]
    assert answers == [201] * 100 + [409]
