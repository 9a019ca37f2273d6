"""Checks the sidecar in a pod of another chart, and the sample executor's loop with a real sidecar."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from charts import CHART, HERE, Broken, all_hold, every_set, of_kind, read, rendered
from settings import configuration, tollgate


def users_chart(folder):
    """Builds a chart that adds the sidecar exactly as the README of the chart shows it."""
    chart = pathlib.Path(folder, "flows")
    shutil.copytree(HERE / "parent", chart)
    shutil.copytree(CHART, chart / "charts/tollgate")
    [pod] = re.findall(r"with the additions:\n\n```yaml\n(.*?)```", read("helm/tollgate/README.md"), re.S)
    with open(chart / "templates/deployment.yaml", "a") as template:
        template.write(pod)
    return chart


def check_the_readme_adds_the_sidecar_to_a_pod():
    import manifests

    with tempfile.TemporaryDirectory() as folder:
        documents = rendered(chart=users_chart(folder))
    [deployment] = of_kind(documents, "Deployment")
    for version in manifests.versions():
        all_hold(manifests.faults(deployment, version))
    pod = deployment["spec"]["template"]
    [sidecar], [executor] = pod["spec"]["initContainers"], pod["spec"]["containers"]
    socket = {"name": "tollgate-socket", "mountPath": "/run/tollgate"}
    metrics = [service for service in of_kind(documents, "Service") if service["metadata"]["name"] == "release-tollgate-metrics"]
    all_hold(
        problem
        for problem, holds in {
            "the sidecar ends before its executor": sidecar.get("restartPolicy") == "Always",
            "the sidecar does not have the socket": socket in sidecar["volumeMounts"],
            "the executor has more than the socket": executor["volumeMounts"] == [socket],
            "the store's URL is not from the Secret": sidecar["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "store",
            "the pods do not restart with a new configuration": "checksum/tollgate" in pod["metadata"]["annotations"],
            "metrics do not find the pod": metrics[0]["spec"]["selector"].items() <= pod["metadata"]["labels"].items(),
            "the executor runs as another user": executor["securityContext"]["runAsUser"] == sidecar["securityContext"]["runAsUser"],
            "the team is not in the configuration": 'team_id = "acme"' in configuration(documents),
        }.items()
        if not holds
    )


def check_the_sample_executor_cannot_grant_itself_credits():
    def problems():
        for name, documents in every_set():
            for deployment in of_kind(documents, "Deployment"):
                for container in deployment["spec"]["template"]["spec"]["containers"]:
                    mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
                    if container["name"] == "executor" and mounts != {"tollgate-socket"}:
                        yield f"{name}: the executor mounts {mounts}"

    all_hold(problems())


def check_the_sample_executor_works_with_a_real_sidecar():
    with tempfile.TemporaryDirectory() as folder, open(pathlib.Path(folder, "log"), "w+") as log:
        socket = pathlib.Path(folder, "tollgate.sock")
        sidecar = subprocess.Popen(
            [tollgate(), "serve", "--store", "memory", "--listen", f"unix:{socket}", "--admin", f"unix:{folder}/admin.sock"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        executor = None
        try:
            until(socket.exists, sidecar, log)
            loop = ["sh", "-c", read("helm/tollgate/files/executor.sh")]
            environment = {**os.environ, "SOCKET": str(socket), "TEAM": "demo-basic", "PAUSE_SECONDS": "1"}
            executor = subprocess.Popen(loop, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            # The balance after the second commit: two calls of gpt-4o at 2 credits each.
            until(lambda: '"used": "4"' in pathlib.Path(log.name).read_text(), executor, log)
            # Kubernetes sends SIGTERM to the first process of a container; the loop must handle it itself.
            executor.terminate()
            if executor.wait(timeout=5) != 0:
                raise Broken(f"  SIGTERM ended the loop with {executor.returncode}")
        finally:
            for process in (executor, sidecar):
                if process is not None:
                    end(process)


def end(process):
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(condition, process, log):
    end = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise Broken(f"  waited in vain: {pathlib.Path(log.name).read_text()[-3000:]}")
        time.sleep(0.05)
