"""Reads the daemon's metrics with the parsers of Prometheus's own Python client, and holds the alerts against them.

Arguments: the socket, the alerts' file, the text that a textfile collector would read.
"""

import http.client
import re
import socket
import sys

import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as plain
import yaml


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(path, accept):
    connection = UnixConnection(path)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    return answer.getheader("Content-Type"), answer.read().decode()


def samples(families):
    found = {}
    for family in families:
        assert family.documentation, f"{family.name} has no HELP"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def main(path, rules, textfile):
    kind, text = ask(path, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    families = list(openmetrics.text_string_to_metric_families(text))
    told = samples(families)
    kinds = {family.name: family.type for family in families}
    assert kinds["ecobee_tokend_build"] == "info", kinds
    assert kinds["ecobee_tokend_ecobee_calls"] == "counter", kinds
    assert kinds["ecobee_tokend_ecobee_call_duration_seconds"] == "histogram", kinds
    for family in families:
        wanted = "seconds" if family.name.endswith("_seconds") else ""
        assert family.unit == wanted, (family.name, family.unit)
    assert told[("ecobee_tokend_token_living", (("account", "home"),))] == 1
    assert told[("ecobee_tokend_authorizations_total", (("account", "home"),))] == 1

    kind, older = ask(path, "text/plain")
    assert kind.startswith("text/plain; version=0.0.4"), kind
    for name, text in (("text/plain", older), ("the textfile", open(textfile, encoding="utf-8").read())):
        families = list(plain.text_string_to_metric_families(text))
        unknown = [family.name for family in families if family.type not in ("gauge", "counter", "histogram")]
        assert not unknown, f"{name}: without a type that the older dialect knows: {unknown}"
        missing = {name for name, _ in told} - {name for name, _ in samples(families)}
        assert not missing, f"{name}: {missing} missing"

    names = {name for name, _ in told}
    # These are there only while there is trouble, or a PIN.
    names |= {"ecobee_tokend_trouble_since_timestamp_seconds", "ecobee_tokend_pin_expiry_timestamp_seconds"}
    alerts = [rule for group in yaml.safe_load(open(rules, encoding="utf-8"))["groups"] for rule in group["rules"]]
    assert len(alerts) >= 5, alerts
    for alert in alerts:
        used = set(re.findall(r"\b(ecobee_tokend_\w+)", alert["expr"]))
        assert used and used <= names, f"{alert['alert']} asks for {used - names}"
        assert alert["annotations"]["summary"] and alert["annotations"]["description"]
    print(f"metrics: {len(told)} samples of {len(kinds)} families parse in both dialects; {len(alerts)} alerts use them")


main(*sys.argv[1:])
