"""The app where orjson is not installed."""

from app import Target

from micropie import strict_json

strict_json.orjson = None  # type: ignore[assignment]  # a module, or nothing

app = Target()
