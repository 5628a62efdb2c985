"""The app where orjson is not installed."""

from app import Target

from micropie import codec

codec.orjson = None  # type: ignore[assignment]  # a module, or nothing

app = Target()
