"""How a page looks: what axe finds, what is too wide, and pictures of it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, ViewportSize

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, Theme] = ("light", "dark")
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 640}

# The picture of an example: its size on the page, how many pixels stand for one of them, and how large the file may be.
CARD: ViewportSize = {"width": 640, "height": 420}
SHARPNESS = 1.5
LARGEST = 40_000  # bytes

# The page has been laid out and its observers have run.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

# Boxes that are wider inside than outside and not meant to be: only code, tables and drawings scroll, each for itself.
WIDE = """() => [...document.querySelectorAll("*")].filter((box) =>
  box.scrollWidth > box.clientWidth
  && (box === document.documentElement || /auto|scroll/.test(getComputedStyle(box).overflowX))
  && !box.matches("pre, .table-wrapper")
).map((box) => `${box.localName}.${box.className}`)"""

# Chromium itself turns a PNG into a WebP, a third of its size.
WEBP = """async (png) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.85).split(",")[1];
}"""


def violations(page: Page, packages: Path) -> list[tuple[str, list[str]]]:
    """Return each rule of axe that the page breaks, with the elements."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=packages / "axe-core" / "axe.min.js")
    page.evaluate(DRAWN)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def webp(page: Page, size: ViewportSize, sharpness: float) -> bytes:
    """Return a picture of the page in a window of this size, which the page keeps."""
    page.set_viewport_size(size)
    session = page.context.new_cdp_session(page)
    session.send(
        "Emulation.setDeviceMetricsOverride",
        {**size, "deviceScaleFactor": sharpness, "mobile": False},
    )
    page.evaluate(DRAWN)
    png = page.screenshot(animations="disabled", caret="hide")
    session.send("Emulation.setDeviceMetricsOverride", {**size, "deviceScaleFactor": 1, "mobile": False})
    session.detach()
    return base64.b64decode(page.evaluate(WEBP, base64.b64encode(png).decode()))


def look_at(page: Page, packages: Path, pictures: Path) -> None:
    """Hold an example's page, as it stands, to what all of them promise, and write ``light.webp`` and ``dark.webp``.

    In both themes, on a desktop and a phone, axe finds no violation and nothing is wider than the screen. What was
    seen there is written as well, as ``desktop-light.png`` and so on.
    """
    before = page.viewport_size
    assert before is not None
    try:
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            for device, size in {"desktop": DESKTOP, "phone": PHONE}.items():
                page.set_viewport_size(size)
                found = violations(page, packages), page.evaluate(WIDE)
                assert found == ([], []), f"{device}, {theme}: broken rules and wide boxes: {found}"
                page.screenshot(path=pictures / f"{device}-{theme}.png", animations="disabled")
            picture = webp(page, CARD, SHARPNESS)
            assert len(picture) < LARGEST, f"the {theme} picture has {len(picture)} bytes"
            (pictures / f"{theme}.webp").write_bytes(picture)
    finally:
        page.emulate_media(color_scheme=None)
        page.set_viewport_size(before)
