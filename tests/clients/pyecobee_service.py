#!/usr/bin/env python3
"""pyecobee against the simulator. Takes the simulator's URL."""

import logging
import sys

from pyecobee import EcobeeApiException, EcobeeAuthorizationException, EcobeeService, Selection, SelectionType

from common import Simulator, check, raises

# pyecobee takes keys of 32 characters only.
KEY = "keyOfPyecobeeWith32Characters000"


def main(url):
    logging.disable()  # Each error that is wanted here would be logged with its traceback.
    simulator = Simulator(url)
    EcobeeService.AUTHORIZE_URL = f"{url}/authorize"
    EcobeeService.TOKENS_URL = f"{url}/token"
    EcobeeService.THERMOSTAT_URL = f"{url}/1/thermostat"
    ecobee = EcobeeService("Hallway", KEY)

    def read():
        selection = Selection(selection_type=SelectionType.REGISTERED.value, selection_match="")
        return ecobee.request_thermostats(selection)

    pin = ecobee.authorize()
    check(pin.ecobee_pin, f"a PIN is asked for: {pin.ecobee_pin}")
    check((pin.expires_in, pin.interval) == (9, 0), "its time is told in minutes, the interval in seconds")
    pending = raises(EcobeeAuthorizationException, ecobee.request_tokens)
    check(pending and pending.error == "authorization_pending", "authorization_pending while nobody has entered it")
    simulator.control("approve", {"pin": pin.ecobee_pin})
    tokens = ecobee.request_tokens()
    check(tokens.token_type == "Bearer" and tokens.expires_in == 3599, "tokens, once it is entered")
    thermostats = read()
    check(thermostats.status.code == 0, "the thermostat is read")
    check(thermostats.thermostat_list[0].name == "Hallway", "it is the simulated one")

    old_access, old_refresh = ecobee.access_token, ecobee.refresh_token
    ecobee.refresh_tokens()
    check(ecobee.access_token != old_access and ecobee.refresh_token != old_refresh, "refreshed: both tokens are new")
    check(read().status.code == 0, "the thermostat is read again")

    new_access = ecobee.access_token
    ecobee.access_token = old_access
    refused = raises(EcobeeApiException, read)
    check(refused and int(refused.status_code) == 14, "the old access token is refused with code 14")
    ecobee.access_token = new_access

    simulator.control("expire-access-token", {"client_id": KEY})
    expired = raises(EcobeeApiException, read)
    check(expired and int(expired.status_code) == 14, "code 14 when a token expires early")
    ecobee.refresh_tokens()
    check(read().status.code == 0, "a refresh helps")

    simulator.control("deauthorize", {"client_id": KEY})
    gone = raises(EcobeeApiException, read)
    check(gone and int(gone.status_code) == 16, "code 16 when the person removes the application")
    refused = raises(EcobeeAuthorizationException, ecobee.refresh_tokens)
    check(refused and refused.error == "invalid_grant", "and invalid_grant for the refresh")


if __name__ == "__main__":
    main(sys.argv[1])
