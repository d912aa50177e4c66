"""Known vulnerabilities of the pinned packages, as `make lint` asks for them; options go on to pip-audit.

A finding fails. Where nobody can be asked, as in a sandbox that reaches registries alone, that is said and no failure.
"""

import json
import subprocess
import sys

ASK = "-m pip_audit -r constraints.txt --disable-pip --no-deps -s osv -f json --progress-spinner off --timeout 10"


def main() -> int:
    done = subprocess.run([sys.executable, *ASK.split(), *sys.argv[1:]], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        why = (done.stderr.strip() or "no answer").splitlines()[-1]
        print(f"\n*** NOT AUDITED: pip-audit could not ask for vulnerabilities of constraints.txt. ***\n{why}\n")
        return 0
    skipped = [package["name"] for package in packages if "vulns" not in package]
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", [])]
    for package, vulnerability in found:
        mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, mended in {mended}")
    if skipped:
        print(f"\n*** NOT AUDITED: {', '.join(skipped)}. ***\n")
    print(
        f"pip-audit: {len(packages) - len(skipped)} packages of constraints.txt audited, {len(found)} vulnerabilities"
    )
    return bool(found)


sys.exit(main())
