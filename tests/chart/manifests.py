"""Checks the rendered manifests: Kubernetes' schemas, references between them, and the restricted profile."""

import functools
import json

import importlib_resources
import jsonschema
import kubernetes_validate
import referencing

from charts import Broken, all_hold, every_set, of_kind, rendered

FIRST = (1, 29)
CUSTOM = {"ServiceMonitor", "PrometheusRule"}


def versions():
    known = [tuple(map(int, version.split(".")[:2])) for version in kubernetes_validate.utils.all_versions()]
    return [version for version in known if version >= FIRST]


@functools.cache
def definitions(folder):
    schemas = importlib_resources.files("kubernetes_validate") / "kubernetes-json-schema" / folder
    contents = json.loads((schemas / "_definitions.json").read_text())
    registry = referencing.Registry().with_resource("_definitions.json", referencing.Resource.from_contents(contents))
    # Crawled once: otherwise each reference searches all definitions again.
    return schemas, registry.crawl()


@functools.cache
def validator(version, api_version, kind):
    """Returns the strict schema of a kind. The package's own `validate` would read all schemas again for each manifest."""
    schemas, registry = definitions(f"v{version[0]}.{version[1]}.0-local-strict")
    group = api_version.split("/")[0].split(".")[0] + "-" + api_version.split("/")[1] if "/" in api_version else api_version
    schema = json.loads((schemas / f"{kind.lower()}-{group}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def faults(document, version):
    errors = validator(version, document["apiVersion"], document["kind"]).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]


def check_manifests_are_valid_since_kubernetes_1_29():
    unique = {}
    for name, documents in every_set():
        for document in documents:
            if document["kind"] not in CUSTOM:
                unique.setdefault(json.dumps(document, sort_keys=True), (name, document))
    all_hold(
        f"{name}, {document['kind']} on {version[0]}.{version[1]}: {fault}"
        for name, document in unique.values()
        for version in versions()
        for fault in faults(document, version)
    )


def check_the_schemas_find_faults():
    """The check above reads the package's schemas itself, so it must find the same faults."""
    [deployment] = of_kind(rendered("--set", "mode=deployment"), "Deployment")
    broken = json.loads(json.dumps(deployment))
    broken["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    newest = versions()[-1]
    kubernetes_validate.validate(deployment, f"{newest[0]}.{newest[1]}", strict=True)
    try:
        kubernetes_validate.validate(broken, f"{newest[0]}.{newest[1]}", strict=True)
        raise Broken("  the package accepts an unknown key of a container")
    except kubernetes_validate.ValidationError:
        pass
    if len(versions()) < 9 or not all(faults(broken, version) for version in versions()):
        raise Broken("  a schema accepts an unknown key of a container")


def check_custom_resources_have_only_known_keys():
    """No package has their schemas, so this checks the parts that matter."""

    def problems():
        for name, documents in every_set():
            services = of_kind(documents, "Service")
            for monitor in of_kind(documents, "ServiceMonitor"):
                spec = monitor["spec"]
                unknown = spec.keys() - {"selector", "namespaceSelector", "endpoints"}
                unknown |= spec["endpoints"][0].keys() - {"port", "path", "interval", "scrapeTimeout", "relabelings"}
                if monitor["apiVersion"] != "monitoring.coreos.com/v1" or unknown:
                    yield f"{name}: the ServiceMonitor has unknown keys {unknown}"
                found = [service for service in services if has(service["metadata"]["labels"], spec["selector"]["matchLabels"])]
                ports = [port["name"] for service in found for port in service["spec"]["ports"]]
                if ports != [spec["endpoints"][0]["port"]]:
                    yield f"{name}: the ServiceMonitor selects the ports {ports}"
            for rule in of_kind(documents, "PrometheusRule"):
                if rule["apiVersion"] != "monitoring.coreos.com/v1" or rule["spec"].keys() != {"groups"} or not rule["spec"]["groups"]:
                    yield f"{name}: the PrometheusRule has no groups, or unknown keys"

    all_hold(problems())


def has(labels, wanted):
    return wanted.items() <= labels.items()


def pods(documents):
    """Yields each rendered pod: its labels, its specification, and whether it is the pod of `helm test`."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"]["labels"], document["spec"], True
        elif document["kind"] == "Deployment":
            template = document["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"], False


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def check_selectors_find_their_pods_and_no_test():
    def selectors(document):
        spec = document.get("spec", {})
        if document["kind"] == "Service":
            return [spec["selector"]]
        if document["kind"] == "NetworkPolicy":
            return [spec["podSelector"]["matchLabels"]]
        if document["kind"] == "PodDisruptionBudget":
            return [spec["selector"]["matchLabels"]]
        if document["kind"] == "Deployment":
            spread = spec["template"]["spec"].get("topologySpreadConstraints", [])
            return [spec["selector"]["matchLabels"], *(each["labelSelector"]["matchLabels"] for each in spread)]
        return []

    def problems():
        for name, documents in every_set():
            for document in documents:
                for selector in selectors(document):
                    chosen = [is_test for labels, _, is_test in pods(documents) if has(labels, selector)]
                    expected = [False] if of_kind(documents, "Deployment") else []
                    if chosen != expected:
                        yield f"{name}: {document['kind']} selects {len(chosen)} pods by {selector}, tests: {chosen}"

    all_hold(problems())


def check_every_container_meets_the_restricted_profile():
    def problems():
        for name, documents in every_set():
            for _, pod, _ in pods(documents):
                context = pod["securityContext"]
                if not context["runAsNonRoot"] or context["seccompProfile"] != {"type": "RuntimeDefault"}:
                    yield f"{name}: a pod runs as root or without seccomp"
                if pod["automountServiceAccountToken"] is not False:
                    yield f"{name}: a pod mounts a service account token"
                if {"hostNetwork", "hostPID", "hostIPC"} & pod.keys() or any("hostPath" in volume for volume in pod.get("volumes", [])):
                    yield f"{name}: a pod uses the host's namespaces or files"
                for container in containers(pod):
                    context = container["securityContext"]
                    expected = {
                        "runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                    }  # fmt: skip
                    if not expected.items() <= context.items() or context["runAsUser"] == 0:
                        yield f"{name}: {container['name']} may do more than the restricted profile allows"
                    if not {"requests", "limits"} <= container["resources"].keys():
                        yield f"{name}: {container['name']} has no resources"

    all_hold(problems())


def check_mounts_have_volumes_and_volumes_have_sources():
    def problems():
        for name, documents in every_set():
            claims = {document["metadata"]["name"] for document in of_kind(documents, "PersistentVolumeClaim")}
            maps = {document["metadata"]["name"] for document in of_kind(documents, "ConfigMap")}
            for _, pod, _ in pods(documents):
                volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
                mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
                if mounts != volumes.keys():
                    yield f"{name}: the mounts are {sorted(mounts)}, but the volumes are {sorted(volumes)}"
                for volume in volumes.values():
                    if "configMap" in volume and volume["configMap"]["name"] not in maps:
                        yield f"{name}: there is no ConfigMap for {volume}"
                    claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                    if claim not in claims | {None, "books"}:
                        yield f"{name}: there is no claim for {volume}"

    all_hold(problems())


def check_probes_are_grpc_on_the_probe_port():
    def problems():
        for name, documents in every_set():
            for _, pod, _ in pods(documents):
                for container in containers(pod):
                    if container["name"] != "tollgate":
                        continue
                    [port] = [port["containerPort"] for port in container["ports"] if port["name"] == "probe"]
                    asked = [(probe, container[f"{probe}Probe"]["grpc"]) for probe in ("startup", "liveness", "readiness")]
                    services = {"startup": "liveness", "liveness": "liveness", "readiness": "readiness"}
                    if any(grpc != {"port": port, "service": services[probe]} for probe, grpc in asked):
                        yield f"{name}: {asked}"

    all_hold(problems())


def check_pods_have_enough_time_to_shut_down():
    def problems():
        for name, documents in every_set():
            for _, pod, is_test in pods(documents):
                if not is_test and pod["terminationGracePeriodSeconds"] < 15:
                    yield f"{name}: {pod['terminationGracePeriodSeconds']} s"

    all_hold(problems())


def check_network_policies_let_the_test_through():
    def problems():
        for name, documents in every_set():
            [labels] = [labels for labels, _, is_test in pods(documents) if is_test]
            for policy in of_kind(documents, "NetworkPolicy"):
                rules = [rule for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] not in (50051, 50052)]
                peers = [peer.get("podSelector", {}).get("matchLabels", {"": ""}) for rule in rules for peer in rule.get("from", [])]
                if peers and not any(has(labels, wanted) for wanted in peers):
                    yield f"{name}: the policy blocks the test: {rules}"

    all_hold(problems())
