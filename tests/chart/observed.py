"""Checks alerts and the dashboard with the real promtool, and against the list of metrics in docs/metrics.md."""

import json
import pathlib
import re
import tempfile

import yaml

from charts import ROOT, Broken, all_hold, read, run

ALERTS = "helm/tollgate/files/alerts.yaml"
DASHBOARD = "helm/tollgate/files/dashboard.json"

# Labels that Prometheus and Kubernetes add to every series.
ADDED = {"job", "instance", "namespace", "pod", "le"}


def metrics():
    """Returns all series with their labels: the list in docs/metrics.md."""
    table = read("docs/metrics.md").split("## Metrics")[1].split("\n## ")[0]
    series = {}
    for name, kind, labels in re.findall(r"^\| `(tollgate_[a-z_]+)` \| (\w+) \| ([^|]*)\|", table, re.M):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        series |= {name + ending: set(re.findall(r"`(\w+)`", labels)) for ending in endings}
    return series


def rules():
    return [rule for group in yaml.safe_load(read(ALERTS))["groups"] for rule in group["rules"]]


def panels():
    return json.loads(read(DASHBOARD))["panels"]


def expressions():
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "flows")
            yield panel["title"], expression


def check_promtool_accepts_the_alerts():
    code, output = run("promtool", "check", "rules", str(ROOT / ALERTS))
    if code or f"{len(rules())} rules found" not in output:
        raise Broken(output)


def check_alerts_fire_when_they_should_and_not_otherwise():
    code, output = run("promtool", "test", "rules", str(ROOT / "tests/chart/alerts_test.yaml"))
    if code:
        raise Broken(output)


def check_every_alert_has_a_test_and_instructions():
    tests = read("tests/chart/alerts_test.yaml")
    fired = set(re.findall(r'alertname="(\w+)",alertstate="firing",severity', tests))
    # The test of a healthy installation must have every series of an alert, or it proves nothing about the alert.
    measured = tests.partition("nothing was measured yet")[0]
    page = read("docs/operating.md")

    def problems():
        for rule in rules():
            name = rule["alert"]
            severity = rule["labels"]["severity"]
            if name not in fired:
                yield f"{name}: no test makes it fire"
            for series in re.findall(r"\b(tollgate_\w+|up)\b", rule["expr"]):
                if f"series: '{series}{{" not in measured:
                    yield f"{name}: the test of a healthy installation lacks {series}"
            if f"### {name} ({severity})\n" not in page:
                yield f"{name}: docs/operating.md does not say what to do"
            if not rule["annotations"]["description"].endswith(f"See docs/operating.md, {name}."):
                yield f"{name}: its description does not end with `See docs/operating.md, {name}.`"
        for name in re.findall(r"^### (Tollgate\w+)", page, re.M):
            if name not in {rule["alert"] for rule in rules()}:
                yield f"{name}: docs/operating.md describes it, but there is no such alert"

    all_hold(problems())


def check_alerts_and_dashboard_use_only_existing_metrics():
    known = metrics()

    def problems():
        for title, expression in expressions():
            named = re.findall(r"\b(tollgate_\w+|up)\b", expression)
            if not named:
                yield f"{title}: uses no metric of Tollgate"
            labels = {label for name in named for label in known.get(name, set())} | ADDED
            for name in named:
                if name != "up" and name not in known:
                    yield f"{title}: there is no {name}"
            asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
            asked += [each for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for each in re.split(r"\s*,\s*", group)]
            for label in set(asked) - labels:
                yield f"{title}: none of {sorted(set(named))} has the label {label}"

    all_hold(problems())


def check_every_expression_of_the_dashboard_is_promql():
    recorded = [{"record": f"panel:{number}", "expr": expression} for number, (_, expression) in enumerate(expressions())]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "rules.yaml")
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
        code, output = run("promtool", "check", "rules", str(file))
    if code:
        raise Broken(output)


def check_the_dashboard_shows_every_metric_without_overlaps():
    shown = json.dumps(panels())
    taken = {}

    def problems():
        for name in metrics():
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if base not in shown:
                yield f"no panel shows {base}"
        for panel in panels():
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    if (x, y) in taken or x >= 24:
                        yield f"{panel['title']} overlaps {taken.get((x, y), 'the edge')}"
                        return
                    taken[x, y] = panel["title"]
        if len({panel["id"] for panel in panels()}) != len(panels()):
            yield "two panels have the same id"

    all_hold(problems())
