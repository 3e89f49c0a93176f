"""Drives a server with the stock AWS clients, as its users do.

    main.py SCENARIOS BINARY HOME AWS GIT_ORIGIN WORK_TREES

SCENARIOS is a module's name: it says which pipelines have grants (NAMES; what they have besides those of all is in GRANTS, and what
the server's configuration has in CONFIG), and what is done (its functions in ALL, which have a pipeline each and so are done at the
same time). The server is BINARY, in HOME; AWS is the AWS CLI; below WORK_TREES is one for each repository of the git server."""

import concurrent.futures
import importlib
import pathlib
import sys
import time
import traceback

import world as worlds


def main():
    name, binary, home, aws, origin, work = sys.argv[1:]
    scenarios = importlib.import_module(name)
    more = [getattr(scenarios, name, "") for name in ("GRANTS", "CONFIG")]
    world = worlds.World(binary, pathlib.Path(home), aws, origin, pathlib.Path(work), scenarios.NAMES, *more)
    failed = []

    def run(scenario):
        began = time.monotonic()
        try:
            scenario(world)
        except Exception:
            failed.append(scenario)
            traceback.print_exc()
        print(f"{scenario.__name__}: {time.monotonic() - began:.1f} s")

    try:
        with concurrent.futures.ThreadPoolExecutor() as threads:
            list(threads.map(run, scenarios.ALL))
    finally:
        world.server.kill()
    if failed:
        print(f"The server said:\n{world.server.log.read_text()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
