"""docs/api.md is of the schema that the gateway serves, and that has no answer that never comes."""

import subprocess
import sys

from paths import PROJECT

from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings


def test_the_page_is_of_this_schema() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/api_reference.py", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_wrong_with_a_request_is_a_400() -> None:
    document = create_app(GatewaySettings()).openapi()
    operations = [o for item in document["paths"].values() for o in item.values()]
    assert len(operations) >= 7
    assert not any("422" in operation["responses"] for operation in operations)
    assert "ValidationError" not in document["components"]["schemas"]
