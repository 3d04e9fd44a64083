"""Drives the simulated endpoint with Microsoft's own client, azure-ai-ml, through its public interface.

No code of the client is replaced. It is configured, by what it offers to everybody:
* `cloud` and `cloud_metadata` name the simulator as Resource Manager (as for a sovereign cloud);
* the credential is a class of ours, as any may be: it asks the simulator's identity endpoint;
* a per-call policy sets azure-core's option `enforce_https` to False, since the simulator speaks plain http;
* `jobs.stream` and `begin_cancel` look each second: AZUREML_RUN_POLLING_INTERVAL_MIN and _MAX, `polling_interval`;
* telemetry and progress bars are off.

Usage: acceptance.py ORIGIN FILE_URI FOLDER_URI OUTPUT_URI; the identity header comes in IDENTITY_HEADER.
Prints what the client saw, as one JSON document on the last line.
"""

import json
import logging
import os
import sys
import urllib.parse
import urllib.request

# The client's own log would say what it could not send home; it is to send nothing.
os.environ["AZURE_CORE_COLLECT_TELEMETRY"] = "false"
os.environ.setdefault("AZUREML_RUN_POLLING_INTERVAL_MIN", "1")
os.environ.setdefault("AZUREML_RUN_POLLING_INTERVAL_MAX", "1")

from azure.ai.ml import Input, MLClient, Output  # noqa: E402
from azure.core.credentials import AccessToken  # noqa: E402
from azure.core.exceptions import HttpResponseError  # noqa: E402
from azure.core.pipeline.policies import SansIOHTTPPolicy  # noqa: E402

logging.getLogger().setLevel(logging.ERROR)


class ManagedIdentity:
    """Asks the simulator's identity endpoint, as App Service's is asked."""

    def __init__(self, origin, header):
        self.origin, self.header = origin, header

    def get_token(self, *scopes, **_):
        resource = scopes[0].removesuffix("/.default")
        # The client takes Resource Manager's address for its audience; here these differ.
        if resource.rstrip("/") == self.origin:
            resource = "https://management.azure.com"
        query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": resource})
        request = urllib.request.Request(f"{self.origin}/identity/oauth2/token?{query}")
        request.add_header("X-IDENTITY-HEADER", self.header)
        with urllib.request.urlopen(request, timeout=30) as answer:
            token = json.load(answer)
        return AccessToken(token["access_token"], int(token["expires_on"]))


class PlainHttp(SansIOHTTPPolicy):
    """azure-core's own option `enforce_https=False`, for every call: some of the client's operations drop it."""

    def on_request(self, request):
        request.context["enforce_https"] = False


def client(origin):
    return MLClient(
        ManagedIdentity(origin, os.environ["IDENTITY_HEADER"]),
        "00000000-0000-0000-0000-000000000000",
        "local",
        "local",
        enable_telemetry=False,
        show_progress=False,
        per_call_policies=[PlainHttp()],
        cloud="Simulated",
        cloud_metadata={
            "azure_portal": origin,
            "resource_manager": origin,
            "active_directory": origin,
            "aml_resource_id": "https://ml.azure.com",
            "storage_endpoint": "core.windows.net",
            "registry_discovery_endpoint": origin,
        },
    )


def main(origin, file, folder, output):
    ml = client(origin)
    seen = {"client": MLClient.__module__}
    by_file = ml.batch_endpoints.invoke(
        endpoint_name="claims",
        inputs={"claims": Input(type="uri_file", path=file)},
        outputs={"score": Output(type="uri_file", path=output)},
    )
    seen["file"] = {"name": by_file.name, "status": by_file.status}
    by_folder = ml.batch_endpoints.invoke(
        endpoint_name="claims", deployment_name="demonstration", input=Input(type="uri_folder", path=folder)
    )
    seen["folder"] = {"name": by_folder.name}
    for kind, job in (("file", by_file), ("folder", by_folder)):
        ml.jobs.stream(job.name)
        got = ml.jobs.get(job.name)
        seen[kind].update(streamed=got.status, type=got.type, experiment=got.experiment_name)

    # A job that waits until it is cancelled: the test has ordered it so.
    stuck = ml.batch_endpoints.invoke(endpoint_name="claims", input=Input(type="uri_file", path=file + "?stuck"))
    ml.jobs.begin_cancel(stuck.name, polling_interval=1).wait(60)
    seen["cancelled"] = {"name": stuck.name, "status": ml.jobs.get(stuck.name).status}

    seen["deployments"] = [it.name for it in ml.batch_deployments.list("claims")]
    seen["endpoint"] = ml.batch_endpoints.get("claims").scoring_uri
    seen["datastores"] = [it.name for it in ml.datastores.list()]
    seen["children"] = [it.display_name for it in ml.jobs.list(parent_job_name=by_file.name)]
    seen["arm"] = [it.name for it in ml.jobs.list()]
    seen["listed"] = [it.name for it in ml.batch_endpoints.list_jobs(endpoint_name="claims")]
    try:
        ml.jobs.get("no-such-job")
    except HttpResponseError as refused:
        seen["missing"] = refused.status_code
    print("\n" + json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:5])
