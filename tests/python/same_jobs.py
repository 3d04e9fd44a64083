"""Asks for the jobs that rules of the test ask for, with Microsoft's own client, azure-ai-ml; see acceptance.py for how it is set up.

Usage: same_jobs.py ORIGIN FILE_URI MODEL_OUTPUT_URI FOLDER_URI PIPELINE_OUTPUT_URI; the identity header comes in IDENTITY_HEADER.
"""

import sys

from acceptance import Input, Output, client


def main(origin, file, score, folder, charts):
    ml = client(origin)
    ml.batch_endpoints.invoke(
        endpoint_name="claims",
        deployment_name="v7",
        inputs={"data": Input(type="uri_file", path=file)},
        outputs={"score": Output(type="uri_file", path=score)},
        job_name="claims a",
        params_override=[
            {"mini_batch_size": 5},
            {"error_threshold": -1},
            {"output_file_name": "a.csv"},
            {"compute": {"instance_count": 2}},
            {"retry_settings": {"max_retries": 2, "timeout": 60}},
        ],
    )
    ml.batch_endpoints.invoke(
        endpoint_name="claims",
        deployment_name="steps",
        inputs={
            "folder": Input(type="uri_folder", path=folder),
            "text": Input(type="string", default='{"braces": {}}'),
            "integer": Input(type="integer", default=5),
            "number": Input(type="number", default=0.5),
        },
        outputs={
            "charts": Output(type="uri_folder", path=charts),
            "score": Output(type="uri_file", path=charts + "score.csv"),
        },
        experiment_name="claims-nightly",
    )


if __name__ == "__main__":
    main(*sys.argv[1:6])
