"""Checks the rendered configuration with the real tollgate, and that the chart knows every setting."""

import json
import os
import pathlib
import re
import tempfile
import tomllib

import yaml

from charts import ROOT, Broken, all_hold, every_set, of_kind, read, rendered, run

# Settings that the chart derives from other values. They are not accepted under `settings`.
OF_THE_CHART = {
    "listen", "admin", "probe", "store", "require_aof", "drain_delay", "otlp_endpoint", "metrics_teams",
    "listen_tls_certificate", "listen_tls_key", "listen_tls_client_ca",
    "admin_tls_certificate", "admin_tls_key", "admin_tls_client_ca", "admin_token_file",
}  # fmt: skip

# Keys that the chart writes and Tollgate does not know yet. Remove a key here when Tollgate learns it.
AWAITED = set()


def known():
    """Returns all settings: the table of docs/configuration.md, which a test compares with the program's own."""
    table = read("docs/configuration.md").split("## Settings")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \| `", table, re.M))


def tollgate():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = target / "debug/tollgate"
    if not program.exists():
        raise Broken("  there is no target/debug/tollgate: run cargo build")
    return str(program)


def configuration(documents):
    [text] = [document["data"]["tollgate.toml"] for document in of_kind(documents, "ConfigMap") if "tollgate.toml" in document["data"]]
    return text


def check_every_setting_is_known_to_the_chart():
    schema = json.loads(read("helm/tollgate/values.schema.json"))["properties"]["settings"]["properties"].keys()
    all_hold(
        [f"{key}: is a setting that the chart cannot set" for key in known() - schema - OF_THE_CHART]
        + [f"settings.{key}: is not a setting" for key in schema - known()]
        + [f"settings.{key}: is derived by the chart from other values" for key in schema & OF_THE_CHART]
        + [f"{key}: Tollgate knows it now; remove it from AWAITED" for key in AWAITED & known()]
        + [f"{key}: the chart sets it, but Tollgate does not know it" for key in OF_THE_CHART - AWAITED - known()]
    )


def check_tollgate_accepts_every_configuration():
    def without_awaited(text):
        kept, dropping = [], False
        for line in text.splitlines():
            if line.startswith("["):
                dropping = line.strip("[]") in AWAITED
            # Without TLS, which is awaited too, Tollgate refuses this line.
            exposed = line.startswith('admin = "0.0.0.0') and "admin_tls_certificate" in AWAITED
            if not dropping and not exposed and line.split(" = ")[0] not in AWAITED:
                kept.append(line)
        return "\n".join(kept)

    def problems():
        for name, documents in every_set():
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder, "tollgate.toml")
                file.write_text(without_awaited(configuration(documents)))
                code, output = run(tollgate(), "check-config", "--config", str(file), "--json", cwd=folder)
            if code:
                yield f"{name}: {output}"

    all_hold(problems())


def check_values_reach_the_configuration_unchanged():
    values = yaml.safe_load(read("tests/chart/values/sidecar_everything.yaml"))
    # PyYAML parses timestamps; helm passes them on as text.
    for card in values["rateCards"]:
        card["effective_at"] = "2027-01-01T00:00:00Z"
    config = tomllib.loads(configuration(dict(every_set())["sidecar_everything"]))
    expected = {
        **values["settings"],
        "plans": values["plans"],
        "rate_cards": values["rateCards"],
        "teams": values["teams"],
        "otlp_endpoint": values["traces"]["endpoint"],
        "metrics_teams": 50,
        "listen": "unix:/var/run/quota/tollgate.sock",
        "probe": "0.0.0.0:15053",
        "require_aof": True,
    }
    all_hold(f"{key}: {value!r} became {config.get(key)!r}" for key, value in expected.items() if config.get(key) != value)

    values = yaml.safe_load(read("tests/chart/values/deployment_everything.yaml"))
    config = tomllib.loads(configuration(dict(every_set())["deployment_everything"]))
    expected = {
        "clients": values["clients"],
        "store": "rediss://redis.internal:6380/3",
        "require_aof": False,
        "drain_delay": "20s",
        "admin": "0.0.0.0:50052",
        "admin_token_file": "/etc/tollgate-token/token",
    }
    all_hold(f"{key}: {value!r} became {config.get(key)!r}" for key, value in expected.items() if config.get(key) != value)


def check_files_named_in_the_configuration_are_mounted():
    def problems():
        for name, documents in every_set():
            config = tomllib.loads(configuration(documents))
            named = [value for value in config.values() if isinstance(value, str) and value.startswith("/")]
            named += [value.partition(":")[2] for value in config.values() if isinstance(value, str) and ":/" in value and "://" not in value]
            for deployment in of_kind(documents, "Deployment"):
                pod = deployment["spec"]["template"]["spec"]
                [container] = [each for each in pod.get("initContainers", []) + pod["containers"] if each["name"] == "tollgate"]
                places = [mount["mountPath"] for mount in container["volumeMounts"]]
                for path in named:
                    if not any(path == place or path.startswith(f"{place}/") for place in places):
                        yield f"{name}: nothing is mounted for {path}"

    all_hold(problems())


def check_a_url_with_a_password_comes_only_from_its_secret():
    [deployment] = of_kind(dict(every_set())["sidecar_everything"], "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["initContainers"]
    env = {each["name"]: each for each in container["env"]}
    if env["TOLLGATE_STORE"].get("valueFrom") != {"secretKeyRef": {"name": "store", "key": "url"}}:
        raise Broken(f"  TOLLGATE_STORE is {env['TOLLGATE_STORE']}")
    config = tomllib.loads(configuration(rendered("--values", str(ROOT / "tests/chart/values/sidecar_everything.yaml"))))
    if "store" in config:
        raise Broken(f"  the configuration names the store too: {config['store']}")
