"""schemathesis against a real server with a little model: no 5xx, and nothing that the OpenAPI document does not say.

In an environment of its own (schemathesis 4), beside one that has Hanlin and its tests:

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install schemathesis
    python benchmarks/api_fuzz.py --schemathesis /tmp/fuzz/bin/schemathesis --examples 700
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import httpx2

from hanlin.generate.language_model import load
from serving import make_model_folder, running

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)


def main() -> None:
    """Serve, fuzz, and end with the status of schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schemathesis", default="schemathesis")
    parser.add_argument("--examples", type=int, default=700, help="for each operation and phase")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model = load(make_model_folder(Path(place) / "model"), device="cpu")
        settings = {
            "max_new_tokens": 4,
            "max_queue": 100,
            "store": str(Path(place) / "store"),
            "request_timeout": 20,
        }
        with running(model, **settings) as server:
            schema = httpx2.get(f"{server.url}/openapi.json").json()
            for body in schema["components"][
                "schemas"
            ].values():  # else every request would be for another model
                if "Name of the model" in body.get("properties", {}).get("model", {}).get("description", ""):
                    body["properties"]["model"] |= {"const": model.name}
            document = Path(place) / "openapi.json"
            document.write_text(json.dumps(schema))
            done = subprocess.run(
                [
                    asked.schemathesis, "run", str(document), "--url", server.url, "--checks", CHECKS,
                    "--max-examples", str(asked.examples), "--seed", str(asked.seed), "--continue-on-failure",
                    "--phases", "examples,coverage,fuzzing", "--request-timeout", "60", "--max-response-time", "60",
                ],
                check=False,
            )  # fmt: skip
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
