"""Create the deployments of prefect.yaml and the automations on the server at PREFECT_API_URL: `make deploy`.

Where the work pool is missing, `prefect deploy --all` deploys nothing and its exit code is 0; here that is an
error.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import get_client
from prefect.exceptions import ObjectNotFound

from flows import automations
from jabert.errors import JabertError

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Deploy everything; a failure is one sentence and exit code 1."""
    try:
        deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
        check_pools({deployment["work_pool"]["name"] for deployment in deployments})
        deploy(deployments)
        names = automations.ensure(os.environ.get("JABERT_WEBHOOK", ""))
        print(f"automations: {', '.join(names)}")
    except JabertError as error:
        sys.exit(f"jabert: {error}")


def check_pools(names: set[str]) -> None:
    """Check that the work pools exist.

    Raises:
        JabertError: a pool does not exist, or the server cannot be reached.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise JabertError("PREFECT_API_URL is not set; `make up` starts a server and deploys")
    try:
        with get_client(sync_client=True) as client:
            for name in sorted(names):
                client.read_work_pool(name)
    except ObjectNotFound:
        command = f"prefect work-pool create {name} --type process"
        raise JabertError(f"there is no work pool {name!r} on {url}; create it: {command}") from None
    except RuntimeError as error:  # "Failed to reach API at …"
        raise JabertError(f"PREFECT_API_URL {url}: the server cannot be reached") from error


def deploy(deployments: list[dict[str, Any]]) -> None:
    """Run Prefect's command, and check that each deployment exists afterwards.

    Raises:
        JabertError: a deployment is missing.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    with get_client(sync_client=True) as client:
        existing = {deployment.name for deployment in client.read_deployments()}
    missing = {deployment["name"] for deployment in deployments} - existing
    if done.returncode or missing:
        raise JabertError(f"not deployed: {', '.join(sorted(missing)) or 'see above'}")


if __name__ == "__main__":
    main()
