"""Audit of the pinned packages for known vulnerabilities, part of `make lint`. Options are passed to pip-audit.

A finding fails. If the vulnerability service is unreachable, the script prints NOT AUDITED and succeeds.
"""

import json
import subprocess
import sys

PIP_AUDIT = "-m pip_audit -r constraints.txt --disable-pip --no-deps -s osv -f json --progress-spinner off --timeout 10"


def main() -> int:
    process = subprocess.run(
        [sys.executable, *PIP_AUDIT.split(), *sys.argv[1:]], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(process.stdout)["dependencies"]
    except ValueError:
        reason = (process.stderr.strip() or "no answer").splitlines()[-1]
        print(f"\n*** NOT AUDITED: pip-audit could not ask for vulnerabilities of constraints.txt. ***\n{reason}\n")
        return 0
    skipped = [package["name"] for package in packages if "vulns" not in package]
    findings = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", [])]
    for package, vulnerability in findings:
        fixed_in = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, mended in {fixed_in}")
    if skipped:
        print(f"\n*** NOT AUDITED: {', '.join(skipped)}. ***\n")
    audited = len(packages) - len(skipped)
    print(f"pip-audit: {audited} packages of constraints.txt audited, {len(findings)} vulnerabilities")
    return bool(findings)


sys.exit(main())
