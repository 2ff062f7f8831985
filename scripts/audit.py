"""Look up known vulnerabilities of this environment's packages, and write its bill of materials.

    python scripts/audit.py out/bom.json        # `make audit` installs what it needs first

Exit status: 0 none is known, or the database does not answer, which is said; 1 some are known.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LIMIT_S = 20  # a database that is slower does not hold up a build


def look_up(limit_s: float = LIMIT_S) -> tuple[dict[str, Any] | None, str]:
    """pip-audit's report on this environment; None, and why, where it got no answer."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format=json"]
    try:
        done = subprocess.run(
            [*command, "--progress-spinner=off"],
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {limit_s:g} s"
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None, (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return report, ""


def judge(report: dict[str, Any] | None, why_not: str) -> tuple[list[str], int]:
    """Lines for a person, and the exit status."""
    if report is None:
        return [f"NOT AUDITED: the database of vulnerabilities was not reached: {why_not}"], 0
    packages = report["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return [f"NOT AUDITED: the database has none of the {len(packages)} packages"], 0
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}, "
        f"fixed in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in known
        for fault in package["vulns"]
    ]
    missing = sorted(package["name"] for package in packages if "skip_reason" in package)
    seen = f"{len(lines)} known vulnerabilities in {len(known)} packages"
    unseen = f"; not in the database: {', '.join(missing)}" if missing else ""
    return [*lines, f"{seen}{unseen}"], int(bool(lines))


def write_bill(path: Path) -> int:
    """The packages of this environment in CycloneDX's JSON; how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    subprocess.run([*command, "--output-file", str(path), sys.executable], check=True)
    return len(json.loads(path.read_text(encoding="utf-8"))["components"])


if __name__ == "__main__":
    bill = Path(sys.argv[1])
    print(f"{bill}: {write_bill(bill)} packages")
    lines, status = judge(*look_up())
    print("\n".join(lines))
    sys.exit(status)
