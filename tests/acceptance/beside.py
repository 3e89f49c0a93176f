"""What the server offers beside the API: logs, artifacts, events."""

import io
import json
import stat
import threading
import time
import urllib.parse
import zipfile

import botocore.credentials

from world import APPROVE, CHECK, WAIT_SECONDS_MAX, equal, unpolled, until

NAMES = ["beside"]


class Background:
    """Reads a stream in the background, up to its end."""

    def __init__(self, stream):
        self.got = []
        self.thread = threading.Thread(target=lambda: self.got.extend(stream), daemon=True)
        self.thread.start()

    def all(self):
        self.thread.join(WAIT_SECONDS_MAX)
        assert not self.thread.is_alive(), f"the stream has no end, and said {self.got}"
        return self.got


def beside(world):
    name = "beside"
    commit = world.push(name, "to be looked at")
    id = world.create(name, unpolled(world.url(name)), CHECK, APPROVE)
    token = world.token(name, id)
    actions = {it["actionName"]: it["actionExecutionId"] for it in world.actions(name, id)}
    execution = f"/v1/pipelines/{name}/executions/{id}"
    logs(world, f"{execution}/actions", actions, commit)
    artifacts(world, f"{execution}/artifacts", name, actions)
    followed(world, f"{execution}/actions/{actions['Ask']}/log", lambda: world.answer(name, token))
    world.until_status(name, id, "Succeeded")
    signatures(world, [execution + "/artifacts", f"{execution}/actions/{actions['Git']}/log", f"/v1/pipelines/{name}/events"])
    events(world, name, id)


def logs(world, path, actions, commit):
    path = f"{path}/{actions['Git']}"
    log = world.get(f"{path}/log")
    assert f"fetching {commit} from".encode() in log and log.endswith(b"\n"), log
    at, level, _ = log.splitlines()[0].split(None, 2)
    assert abs(int(at) / 1000 - time.time()) < 600 and level == b"Info", log
    for range, expected in [("0-9", log[:10]), ("10-", log[10:]), ("-5", log[-5:]), ("5-5", log[5:6]), ("0-999999", log)]:
        equal(world.get(f"{path}/log", 206, headers={"Range": f"bytes={range}"}), expected)
    equal(world.get(f"{path}/log", 416, headers={"Range": f"bytes={len(log)}-"}), b"")
    followed = list(world.events(f"{path}/log?follow=true"))
    equal([(event, data) for _, event, data in followed[:-1]], [(None, line) for line in log.decode().splitlines()])
    equal(followed[-1][1], "end")
    calls = [json.loads(line) for line in world.get(f"{path}/journal").splitlines()]
    assert any(world.origin in json.dumps(call) for call in calls), calls
    world.get(f"{path}0/log", 404)


def followed(world, path, answer):
    """A log is followed while its action waits, until it ends."""
    listener = Background(world.events(path + "?follow=true"))
    answer()
    got = listener.all()
    equal(got[-1][1], "end")
    equal([data for _, _, data in got[:-1]], world.get(path).decode().splitlines())
    assert any("Approved by arn:aws:iam::" in data for _, _, data in got), got


def artifacts(world, path, name, actions):
    [artifact] = json.loads(world.get(path))["artifacts"]
    equal((artifact["name"], artifact["actionExecutionId"]), ("Code", actions["Git"]))
    listed = {it["path"]: it for it in json.loads(world.get(f"{path}/Code/files"))["files"]}
    zipped = zipfile.ZipFile(io.BytesIO(world.get(f"{path}/Code")))
    equal(zipped.testzip(), None)
    entries = {it.filename: it for it in zipped.infolist()}
    tracked = world.git(name, "ls-files", "-sz").rstrip("\0").split("\0")
    files = 0
    for line in tracked:
        (mode, _, _), file = line.split("\t", 1)[0].split(), line.split("\t", 1)[1]
        work = world.work / name / file
        row, unix = listed[file], entries[file].external_attr >> 16
        if mode == "120000":
            target = str(work.readlink())
            equal((row["kind"], row["target"]), ("link", target))
            equal((stat.S_ISLNK(unix), zipped.read(file).decode()), (True, target))
            continue
        files += 1
        content = work.read_bytes()
        equal((row["kind"], row["size"], row["executable"]), ("file", len(content), mode == "100755"))
        equal((stat.S_ISREG(unix), bool(unix & 0o100)), (True, mode == "100755"))
        equal(zipped.read(file), content)
        equal(world.get(f"{path}/Code/files/{urllib.parse.quote(file)}"), content)
    equal(artifact["files"], files)
    assert files > 3 and "links/run" in entries, entries
    equal({it for it in entries if not it.endswith("/")}, {it for it, row in listed.items() if row["kind"] != "directory"})
    for missing in ["/Coda", "/Coda/files", "/Code/files/nobody", "/Code/files/links", "/Code/files/..%2f..%2fetc%2fpasswd"]:
        world.get(path + missing, 404)
    world.get(f"{path}/Code/files/../../../../../etc/passwd", 403)


def events(world, name, id):
    """Whoever comes back with the id of any event misses none of those after it."""
    is_end = lambda data: (data["detail"]["state"], data["detail"].get("stage")) == ("SUCCEEDED", None)

    def heard(path, last_event_id=None, executions=1):
        """What is told until so many executions have succeeded, as pairs of the id to come back with and the event."""
        found = []
        for cursor, _, data in world.events(path, last_event_id):
            data = json.loads(data)
            found.append((cursor, data))
            executions -= is_end(data)
            if not executions:
                return found

    of_pipeline = f"/v1/pipelines/{name}/events"
    for path in ["/v1/events", of_pipeline]:
        all = heard(path)
        equal({data["source"] for _, data in all}, {"aws.codepipeline", "pipewright"})
        equal({data["detail"]["execution-id"] for _, data in all}, {id})
        equal(len({data["id"] for _, data in all}), len(all))
        told = [data["detail"] for _, data in all]
        equal([(it.get("stage"), it.get("action"), it["state"]) for it in told], [
            (None, None, "STARTED"),
            ("Source", None, "STARTED"), ("Source", "Git", "STARTED"), ("Source", "Git", "SUCCEEDED"), ("Source", None, "SUCCEEDED"),
            ("Check", None, "STARTED"), ("Check", "Links", "STARTED"), ("Check", "Links", "SUCCEEDED"), ("Check", None, "SUCCEEDED"),
            ("Approve", None, "STARTED"), ("Approve", "Ask", "STARTED"), ("Approve", "Ask", "APPROVED"),
            ("Approve", "Ask", "SUCCEEDED"), ("Approve", None, "SUCCEEDED"),
            (None, None, "SUCCEEDED"),
        ])
        for place, (cursor, _) in enumerate(all[:-1]):
            resumed = {data["id"]: data for _, data in heard(path, cursor)}
            missed = [data["detail"] for _, data in all[place + 1:] if resumed.get(data["id"]) != data]
            assert not missed, f"{path} after {cursor}: {missed}"
        for wrong in ["x", "-1", "99999999999999999999999"]:
            assert b"ValidationException" in world.get(path, 400, headers={"Last-Event-ID": wrong})

    # What a query has and means nothing is refused, and in the form of every error.
    log = f"{of_pipeline.removesuffix('/events')}/executions/x/actions/x/log"
    for wrong in ["/v1/events?form=now", "/v1/events?from=nwo", f"{of_pipeline}?from=now&from=now", "/v1/plugins?x=", f"{log}?follow=maybe"]:
        assert b"ValidationException" in world.get(wrong, 400), wrong

    # Live, over a break of the connection, and over a kill of the server.
    def until_check():
        for cursor, _, data in world.events(f"{of_pipeline}?from=now"):
            data = json.loads(data)
            yield cursor, data
            if data["detail"].get("stage") == "Check":
                return
    live = Background(until_check())
    until(lambda: world.metric("pipewright_streams") == 1, "somebody listens")
    id = world.start_execution(name)
    got = live.all()
    token = world.token(name, id)
    world.server.kill()
    world.start()
    world.answer(name, token)
    for path in [of_pipeline, "/v1/events"]:
        first = heard(path, executions=2)
        live = [data for _, data in got] + [data for _, data in heard(of_pipeline, got[-1][0])]
        second = [data["id"] for _, data in first if data["detail"]["execution-id"] == id]
        equal(list(dict.fromkeys(data["id"] for data in live)), second)

    # Who was away while the pipeline was deleted is told how it ended.
    id, away = world.start_execution(name), first[-1][0]
    world.token(name, id)
    rest = Background(world.events(of_pipeline))
    until(lambda: world.metric("pipewright_streams") == 1, "somebody listens")
    world.api.delete_pipeline(name=name)
    assert rest.all(), "the stream of a pipeline ends with the pipeline"
    for _, _, data in world.events("/v1/events", away):
        detail = json.loads(data)["detail"]
        if (detail["execution-id"], detail.get("stage"), detail["state"]) == (id, None, "CANCELED"):
            break


def signatures(world, paths):
    for path in paths:
        assert b"MissingAuthenticationTokenException" in world.get(path, 403, sign=False)
    right = world.credentials
    world.credentials = botocore.credentials.Credentials(right.access_key, "wrong" + right.secret_key[5:])
    for path in paths:
        assert b"InvalidSignatureException" in world.get(path, 403)
    world.credentials = right


ALL = [beside]
