"""What a link in Dagster's metadata opens: the page that the service answers."""

import re

from fastapi.testclient import TestClient

from quantum_training.service.app import build_app
from quantum_training.service.cached_store import CachedStore
from quantum_training_tests.support.projects import Project


def opened(project: Project, link: str) -> str:
    """The HTML behind a Markdown link to a report of this project."""
    (url,) = re.findall(r"\((.+)\)$", link)
    base = project.settings.service.url
    assert url.startswith(f"{base}/reports/")
    app = build_app(project.settings, {"store": CachedStore(root=project.store.root)})
    with TestClient(app, base_url=base) as client:
        answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text
