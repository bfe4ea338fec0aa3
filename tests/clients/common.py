"""What both checks share: the control API of the simulator, and a way to say what is being looked at."""

import json
import urllib.request


class Simulator:
    def __init__(self, url):
        self.url = url

    def control(self, route, order=None):
        data = None if order is None else json.dumps(order).encode()
        with urllib.request.urlopen(f"{self.url}/_control/{route}", data, timeout=30) as answer:
            return json.load(answer)

    def answers(self, kind, client_id):
        """What the calls of one kind were answered, as the simulator logged them."""
        return [
            call["answer"]
            for call in self.control("calls")
            if call["kind"] == kind and call["client_id"] == client_id
        ]


def check(holds, what):
    if not holds:
        raise SystemExit(f"  FAILED: {what}")
    print(f"  {what}")


def raises(kind, call):
    """Whatever `call` raises of this kind; None if it raises nothing."""
    try:
        call()
    except kind as error:
        return error
    return None
