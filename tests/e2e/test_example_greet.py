"""The example greet: the address says whom to greet."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.browsing import RunExample, Show, Visit


def test_greet(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("greet") as greet:
        visitor = visit(greet.url)
        page = visitor.page
        address = greet.url.replace("http", "ws")
        shown = []
        for where, name, path, greeting in [
            ("in the path", "Alice", "greet/Alice", "Hello Alice!"),
            ("in the query", "Bob", "greet?name=Bob", "Hello Bob!"),
            ("in the path", "a/b ü?", "greet/a%2Fb%20%C3%BC%3F", "Hello a/b ü?!"),
            ("in the query", "a&b=ü", "greet?name=a%26b%3D%C3%BC", "Hello a&b=ü!"),
            ("left out", "", "greet", "Hello Guest!"),
        ]:
            page.get_by_label(where).check()
            if name:
                page.get_by_label("Name", exact=True).fill(name)
            expect(page.locator("#address")).to_have_text(address + path)
            page.get_by_role("button", name="Greet").click()
            shown += [address + path, greeting, "closed with code 1000"]
            expect(page.locator("#log li")).to_have_text(shown)
            if name == "Bob":
                show(visitor, "greet")
        assert [socket.url for socket in visitor.sockets] == shown[::3]
        assert [socket.received for socket in visitor.sockets] == [[greeting] for greeting in shown[1::3]]
        assert visitor.talk("greet/Alice") == {"received": ["Hello Alice!"], "code": 1000, "reason": ""}
