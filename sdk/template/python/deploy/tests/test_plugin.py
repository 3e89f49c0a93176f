import plugin
from pipewright.testing import Host

URL = "https://api.example.com/deployments"
SITE = {"Site": {"index.html": "<h1>Hello</h1>\n"}}


def test_waits_for_the_service() -> None:
    host = Host(
        secrets={"token": "not-a-real-token"},
        http=[
            {
                "request": f"POST {URL}",
                "with": {"headers": {"authorization": "Bearer not-a-real-token", "idempotency-key": "case"}},
                "json": {"id": "d-1", "status": "running"},
            },
            {"request": f"GET {URL}/d-1", "json": {"id": "d-1", "status": "done", "url": "https://www.example.com/"}},
        ],
    )
    ran = host.run(plugin.run, inputs=SITE, settings={"Url": URL})
    assert ran.outcome == "waiting"
    ran = host.wake()
    assert ran.outcome == "succeeded"
    assert ran.external_id == "d-1"
    assert [target.id for target in ran.targets] == ["https://www.example.com/"]


def test_wants_an_address() -> None:
    ran = Host().run(plugin.run, inputs=SITE, settings={"Url": "api.example.com"})
    assert ran.failure and ran.failure.kind == "ConfigurationError"
