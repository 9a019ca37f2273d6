"""Alerts and the dashboard: run by the real promtool, and held against the one list of metrics."""

import json
import pathlib
import re
import tempfile

import yaml

from charts import ROOT, Broken, all_hold, read, run

ALERTS = "helm/tollgate/files/alerts.yaml"
DASHBOARD = "helm/tollgate/files/dashboard.json"

# What Prometheus and Kubernetes add to every series.
ADDED = {"job", "instance", "namespace", "pod", "le"}


def metrics():
    """The series that there are, with their labels: the list in docs/metrics.md."""
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


def check_promtool_takes_the_alerts():
    code, output = run("promtool", "check", "rules", str(ROOT / ALERTS))
    if code or f"{len(rules())} rules found" not in output:
        raise Broken(output)


def check_the_alerts_fire_when_they_should_and_not_otherwise():
    code, output = run("promtool", "test", "rules", str(ROOT / "tests/chart/alerts_test.yaml"))
    if code:
        raise Broken(output)


def check_each_alert_has_a_test_and_a_line_that_says_what_to_do():
    tests = read("tests/chart/alerts_test.yaml")
    fired = set(re.findall(r'alertname="(\w+)",alertstate="firing",severity', tests))
    # What never fires in a healthy installation is tested there, if there is anything to be measured.
    measured = tests.partition("nothing was measured yet")[0]
    page = read("docs/operating.md")

    def problems():
        for rule in rules():
            name = rule["alert"]
            severity = rule["labels"]["severity"]
            if name not in fired:
                yield f"{name}: is not tested to fire"
            for series in re.findall(r"\b(tollgate_\w+|up)\b", rule["expr"]):
                if f"series: '{series}{{" not in measured:
                    yield f"{name}: all is well without {series}, which says nothing of it"
            if f"### {name} ({severity})\n" not in page:
                yield f"{name}: docs/operating.md does not say what to do"
            if not rule["annotations"]["description"].endswith(f"See docs/operating.md, {name}."):
                yield f"{name}: its description does not end with where to look"
        for name in re.findall(r"^### (Tollgate\w+)", page, re.M):
            if name not in {rule["alert"] for rule in rules()}:
                yield f"{name}: docs/operating.md tells of it, and there is none"

    all_hold(problems())


def check_alerts_and_dashboard_ask_only_for_what_is_measured():
    known = metrics()

    def problems():
        for title, expression in expressions():
            named = re.findall(r"\b(tollgate_\w+|up)\b", expression)
            if not named:
                yield f"{title}: asks for nothing of Tollgate"
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


def check_the_dashboard_shows_each_metric_once_and_no_panel_upon_another():
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
                        yield f"{panel['title']} lies upon {taken.get((x, y), 'the edge')}"
                        return
                    taken[x, y] = panel["title"]
        if len({panel["id"] for panel in panels()}) != len(panels()):
            yield "two panels have one id"

    all_hold(problems())
