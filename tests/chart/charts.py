"""Checks the chart with helm: lint, rendering, refusals, and the table of its values."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests/chart"
CHART = ROOT / "helm/tollgate"
SETS = sorted((HERE / "values").glob("*.yaml"))


class Broken(Exception):
    """A check that failed, with its problems as lines of text."""


def all_hold(problems):
    problems = list(problems)
    if problems:
        raise Broken("\n".join(f"  {problem}" for problem in problems))


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, **options)
    return done.returncode, done.stdout + done.stderr


@functools.cache
def rendered(*arguments, chart=CHART):
    """Returns the documents that helm renders, the pod of `helm test` included."""
    done = subprocess.run(
        ["helm", "template", "release", chart, "--namespace", "flows", *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    if done.returncode:
        raise Broken(f"  helm template {' '.join(arguments)}: {done.stderr}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def every_set():
    """Returns the name of each set of values in `values/`, with the documents rendered from it."""
    return [(path.stem, rendered("--values", str(path))) for path in SETS]


def read(path):
    return (ROOT / path).read_text()


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def check_lint_accepts_every_set_of_values():
    def problems():
        for path in SETS:
            code, output = run("helm", "lint", "--strict", str(CHART), "--values", str(path))
            if code:
                yield f"{path.name}: {output}"

    all_hold(problems())


def check_both_modes_render_with_defaults():
    for mode, kind in (("sidecar", "ConfigMap"), ("deployment", "Deployment")):
        if not of_kind(rendered("--set", f"mode={mode}"), kind):
            raise Broken(f"  mode {mode} renders no {kind}")


def check_bad_values_are_refused_with_a_reason():
    def problems():
        for case in yaml.safe_load(read("tests/chart/refused.yaml")):
            arguments = [["--set-json", f"{key}={json.dumps(value)}"] for key, value in case["set"].items()]
            code, output = run("helm", "template", "release", str(CHART), *sum(arguments, []))
            if code == 0:
                yield f"{case['set']}: is not refused"
            elif case["says"] not in output:
                yield f"{case['set']}: should say `{case['says']}`, but says: {output}"
            elif "hunter2" in output:
                yield f"{case['set']}: repeats the password: {output}"

    all_hold(problems())


def check_the_sample_on_redis_accepts_a_team_named_either_way():
    for named in ("executor.team=acme", "teams[0].team_id=acme,teams[0].plan=free"):
        rendered("--set", "executor.enabled=true,store.kind=redis,store.redis.url=redis://h", "--set", named)


def leaves(values, path=""):
    """Yields the path and value of each leaf. An empty table counts as a leaf."""
    for key, value in values.items():
        here = f"{path}{key}"
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{here}.")
        else:
            yield here, value


def check_the_readme_lists_every_value_with_its_default():
    values = dict(leaves(yaml.safe_load(read("helm/tollgate/values.yaml"))))
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", read("helm/tollgate/README.md"), re.M)
    listed = {key: json.loads(default) for key, default in rows}
    all_hold(
        f"{key}: values.yaml has {values.get(key, 'nothing')!r}, README.md {listed.get(key, 'nothing')!r}"
        for key in sorted(values.keys() | listed.keys())
        if key not in values or key not in listed or values[key] != listed[key]
    )


def check_the_schema_lists_every_value_and_rejects_others():
    schema = json.loads(read("helm/tollgate/values.schema.json"))
    values = yaml.safe_load(read("helm/tollgate/values.yaml"))

    def resolved(node):
        return schema["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    # Tables with keys of the user, and rules of affinity, which the schemas of Kubernetes check.
    open_tables = {"global", "affinity.nodeAffinity", "affinity.podAffinity", "affinity.podAntiAffinity"}

    def problems(node, value, path):
        node = resolved(node)
        if node.get("type") == "array":
            yield from problems(node["items"], None, f"{path}[]")
        if node.get("type") != "object":
            return
        if "additionalProperties" not in node and path not in open_tables:
            yield f"{path}: accepts unknown keys"
        known = node.get("properties", {})
        if isinstance(value, dict) and node.get("additionalProperties") is False:
            for key in value.keys() - known.keys():
                yield f"{path}.{key}: is in values.yaml but not in the schema"
        for key, child in known.items():
            here = f"{path}.{key}".lstrip(".")
            inner = value.get(key) if isinstance(value, dict) else None
            # Users may add keys to empty tables of values.yaml and to `settings`.
            if isinstance(value, dict) and value and key not in value and here.split(".")[0] not in ("settings", "global", "enabled"):
                yield f"{here}: is in the schema but not in values.yaml"
            yield from problems(child, inner, here)

    found = list(problems(schema, values, ""))
    # Kubernetes accepts more resources than values.yaml sets.
    all_hold(problem for problem in found if not re.search(r"(limits\.cpu|ephemeral-storage): is in the schema", problem))


def check_a_changed_configuration_restarts_the_pods():
    def checksum(*arguments):
        [deployment] = of_kind(rendered("--set", "mode=deployment", *arguments), "Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/tollgate"]

    changes = [("plans.free=1",), ("teams[0].team_id=a,teams[0].plan=free",), ("settings.max_calls=7",), ("metrics.teams=1",)]
    if len({checksum(), *(checksum("--set", *change) for change in changes)}) != len(changes) + 1:
        raise Broken("  a change of the configuration does not change the annotation of the pods")
    if checksum() != checksum("--set", "resources.limits.memory=1Gi"):
        raise Broken("  a change outside of the configuration changes its checksum")


def check_no_secret_is_rendered():
    all_hold(f"{name} renders a Secret" for name, documents in every_set() if of_kind(documents, "Secret"))


def check_the_notes_name_the_version_and_the_mode():
    """Helm shows the notes only after an installation. A dry run needs no cluster."""
    version = yaml.safe_load(read("helm/tollgate/Chart.yaml"))["appVersion"]
    for path in SETS:
        mode = (yaml.safe_load(path.read_text()) or {}).get("mode", "sidecar")
        with tempfile.TemporaryDirectory() as home:
            code, output = run(
                "helm", "install", "release", str(CHART), "--dry-run=client", "--values", str(path),
                env={"PATH": os.environ["PATH"], "HOME": home},
            )  # fmt: skip
        if code or f"NOTES:\nTollgate {version} is installed in mode {mode}." not in output:
            raise Broken(f"  {path.name}: {output[-2000:]}")
