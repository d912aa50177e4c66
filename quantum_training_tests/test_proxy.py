"""The nginx configuration of docs/production/security.md: started as it stands there, but for ports and paths.

Behind it a stand-in for both UIs, which has MLflow's own check of Host and Origin and a websocket.
"""

import asyncio
import base64
import re
import shutil
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import uvicorn
import websockets
from fastapi import FastAPI, Request, WebSocket

from quantum_training_tests.support.processes import free_port, listens, wait_for
from quantum_training_tests.support.web_server import running

DOC = Path(__file__).parents[1] / "docs" / "production" / "security.md"
LOGIN = ("ann", "a word of many letters")
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


@contextmanager
def stand_in(secured):
    """Port of a server that echoes what it is asked, over HTTP and websocket; secured: as MLflow is."""
    from mlflow.server.fastapi_security import init_fastapi_security

    app = FastAPI()
    if secured:
        init_fastapi_security(app)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def echo(path: str, request: Request):
        return {"headers": dict(request.headers), "body": len(await request.body())}

    @app.websocket("/graphql")
    async def socket_echo(websocket: WebSocket):
        await websocket.accept(subprotocol="graphql-ws")
        await websocket.send_text("echo " + await websocket.receive_text())

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    with running(server):
        yield port


@pytest.fixture(scope="module")
def behind():
    """Ports of the stand-ins for the Dagster UI and for MLflow."""
    with stand_in(secured=False) as dagster, stand_in(secured=True) as mlflow:
        yield dagster, mlflow


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, behind):
    """Port of the documented nginx, and the file of its certificate."""
    if not shutil.which("nginx") or not shutil.which("openssl"):
        pytest.skip("no nginx or openssl on the PATH: install them (apt-get install nginx openssl) to test the proxy")
    home, port = tmp_path_factory.mktemp("nginx"), free_port()
    (config,) = re.findall(r"```nginx\n(.*?)```", DOC.read_text(), re.DOTALL)
    key, crt, logins = home / "server.key", home / "server.crt", home / "htpasswd"
    names = "subjectAltName=DNS:dagster.example.org,DNS:mlflow.example.org,IP:127.0.0.1"
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test", "-addext", names]
    subprocess.run(["openssl", *new, "-keyout", key, "-out", crt], check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "-stdin"], input=LOGIN[1], text=True, capture_output=True)
    logins.write_text(f"{LOGIN[0]}:{hashed.stdout}")
    for documented, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("proxy_pass http://127.0.0.1:3000", f"proxy_pass http://127.0.0.1:{behind[0]}"),
        ("proxy_pass http://127.0.0.1:5000", f"proxy_pass http://127.0.0.1:{behind[1]}"),
        ("/etc/nginx/tls/server.crt", str(crt)),
        ("/etc/nginx/tls/server.key", str(key)),
        ("/etc/nginx/quantum_training.htpasswd", str(logins)),
    ):
        assert documented in config
        config = config.replace(documented, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in kinds)
    main_section = f"daemon off; pid {home}/pid; worker_processes 1; error_log {home}/error.log;\nevents {{}}\n"
    (home / "nginx.conf").write_text(f"{main_section}http {{ access_log off;\n{folders}{config}}}\n")
    home.chmod(0o755)
    with (home / "nginx.conf").open("a") as file:
        file.write("user root;\n" if home.owner() == "root" else "")
    command = ["nginx", "-p", str(home), "-e", str(home / "error.log"), "-c", str(home / "nginx.conf")]
    check = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for("nginx", lambda: listens(port) or process.poll() is not None, 60)
        yield port, str(crt)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def send(proxy, monkeypatch):
    """`send(name, path, method="GET", login=LOGIN, **headers)`: the answer of a name through the proxy."""
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)

    def call(name, path, method="GET", login=LOGIN, data=None, **headers):
        url = f"https://127.0.0.1:{proxy[0]}{path}"
        headers = {"Host": name, **headers}
        return requests.request(method, url, auth=login, headers=headers, data=data, verify=proxy[1], timeout=30)

    return call


@pytest.mark.parametrize("name", ["dagster.example.org", "mlflow.example.org"])
def test_requests_without_the_password_or_from_another_site_are_refused(send, name):
    path = "/ajax-api/2.0/mlflow/runs/create"
    for login in (None, ("ann", "guess"), ("eve", LOGIN[1])):
        refused = send(name, path, login=login)
        assert refused.status_code == 401
        assert "headers" not in refused.text
    assert send(name, path).status_code == 200
    assert send("evil.example.org", path).status_code == 421
    for method in ("GET", "POST"):
        assert send(name, path, method, Origin="https://evil.example.org").status_code == 403
        assert send(name, path, method, Origin="null").status_code == 403
        assert send(name, path, method, Origin=f"https://{name}").status_code == 200


def test_mlflow_gets_the_host_and_large_artefacts_but_not_the_password(send, behind):
    foreign = requests.get(f"http://127.0.0.1:{behind[1]}/x", headers={"Host": "mlflow.example.org"}, timeout=30)
    assert foreign.status_code == 403, "MLflow checks the name: what the proxy is for"
    got = send("mlflow.example.org", "/ajax-api/2.0/mlflow/x", "POST", data=b"x" * 2**21)
    assert got.status_code == 200
    assert got.json()["body"] == 2**21
    for name in ("dagster.example.org", "mlflow.example.org"):
        assert "authorization" not in send(name, "/x").json()["headers"]


def test_a_websocket_of_the_dagster_ui_comes_through_with_the_password_only(proxy):
    port, certificate = proxy
    trusting = ssl.create_default_context(cafile=certificate)

    async def talk(**headers):
        where = f"wss://dagster.example.org:{port}/graphql"
        options = {"host": "127.0.0.1", "port": port, "ssl": trusting, "proxy": None}
        async with websockets.connect(
            where, subprotocols=["graphql-ws"], additional_headers=headers, open_timeout=30, **options
        ) as connection:
            await connection.send("hello")
            return await connection.recv()

    origin = {"Origin": "https://dagster.example.org"}
    assert asyncio.run(talk(Authorization=BASIC, **origin)) == "echo hello"
    for status, headers in ((401, origin), (403, {"Authorization": BASIC, "Origin": "https://evil.example.org"})):
        with pytest.raises(websockets.InvalidStatus, match=str(status)):
            asyncio.run(talk(**headers))
