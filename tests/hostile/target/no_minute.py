"""The app with one second for a whole body instead of a minute, so that a test need not wait so long."""

from app import Target

from micropie.request import body

body._PATIENCE = 1

app = Target()
