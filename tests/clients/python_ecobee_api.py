#!/usr/bin/env python3
"""python-ecobee-api, the client that Home Assistant uses, against the simulator. Takes the simulator's URL."""

import sys

import pyecobee
from pyecobee import Ecobee, ExpiredTokenError, InvalidTokenError

from common import Simulator, check, raises

KEY = "key-of-python-ecobee-api"


def main(url):
    simulator = Simulator(url)
    pyecobee.ECOBEE_BASE_URL = url
    ecobee = Ecobee(config={"API_KEY": KEY})

    check(ecobee.request_pin() and ecobee.pin, f"a PIN is asked for: {ecobee.pin}")
    check(not ecobee.request_tokens(), "no tokens while nobody has entered it")
    check(simulator.answers("poll", KEY) == ["authorization_pending"], "the poll was answered authorization_pending")
    simulator.control("approve", {"pin": ecobee.pin})
    check(ecobee.request_tokens(), "tokens, once it is entered")
    check(ecobee.get_thermostats(), "the thermostat is read")
    check(ecobee.thermostats[0]["name"] == "Hallway", "it is the simulated one")

    old_access, old_refresh = ecobee.access_token, ecobee.refresh_token
    check(ecobee.refresh_tokens(), "the token is refreshed")
    check(ecobee.access_token != old_access and ecobee.refresh_token != old_refresh, "both tokens are new")
    check(ecobee.get_thermostats(), "the thermostat is read again")

    def read_with(token):
        ecobee.access_token = token
        return ecobee._request("GET", "thermostat", "read", params={"json": "{}"})

    new_access = ecobee.access_token
    check(raises(ExpiredTokenError, lambda: read_with(old_access)), "the old access token is refused as expired")
    check(raises(InvalidTokenError, lambda: read_with("made-up")), "a made-up one is refused as invalid")

    ecobee.access_token = new_access
    simulator.control("expire-access-token", {"client_id": KEY})
    check(raises(ExpiredTokenError, lambda: read_with(new_access)), "code 14 is understood when a token expires early")
    before = len(simulator.answers("refresh", KEY))
    check(ecobee.get_thermostats(), "get_thermostats refreshes by itself after code 14")
    check(simulator.answers("refresh", KEY)[before:] == ["ok"], "with one refresh")

    simulator.control("deauthorize", {"client_id": KEY})
    check(raises(InvalidTokenError, ecobee.get_thermostats), "code 16 is understood when the person removes the application")
    check(raises(InvalidTokenError, ecobee.refresh_tokens), "and the refusal of the refresh too")


if __name__ == "__main__":
    main(sys.argv[1])
