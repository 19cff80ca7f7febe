#!/usr/bin/env python3
"""The chunk server against nginx, in one run on one machine.

Both serve the same random bytes over loopback, pinned to one core; wrk sits on another core and keeps
four connections busy. The servers take turns, so that whatever else the machine does hits all alike,
and medians are compared. Besides requests a second it counts requests for each second of processor
time that the server used: that is the rate per core, and it holds on a busy machine too.

Needs Linux, nginx, wrk, taskset and two cores; python3 standard library only.
"""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SERVER_CORE, CLIENT_CORE = "0", "1"
CONNECTIONS = 4
SIZES = [512, 4096, 65536, 0]
# One process, three ports: which setting is fastest depends on the size, and the best one counts.
NGINX = {
    "nginx, as Debian sets it up": "@PORT_DEBIAN@",
    "nginx, open_file_cache": "@PORT_CACHED@",
    "nginx, open_file_cache, no tcp_nopush": "@PORT_UNCORKED@",
}
OURS = "airlift"


def main():
    options = arguments()
    for tool in ("nginx", "wrk", "taskset"):
        if tool_path(tool) is None:
            sys.exit(f"bench: {tool} is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: needs two cores, one for the servers and one for wrk")
    binary = options.server or build()
    with tempfile.TemporaryDirectory(prefix="airlift-bench-") as directory:
        directory = pathlib.Path(directory)
        os.chmod(directory, 0o755)
        blob = os.urandom(options.blob)
        name = hashlib.sha256(blob).hexdigest()
        path = f"/v1/blobs/{name}"
        target = directory / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True)
        target.write_bytes(blob)

        servers = []
        try:
            servers += start_nginx(directory)
            servers.append(start_airlift(binary, target))
            for server in servers:
                check(server, path, blob)
            results = measure(servers, path, len(blob), options)
        finally:
            for process in {server.process for server in servers}:
                process.send_signal(signal.SIGTERM)
                process.wait(10)
    report(results, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each server (default 7)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn (default 1)")
    parser.add_argument("--blob", type=int, default=1 << 20, help="bytes of the blob (default 1 MiB)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="range sizes, 0: whole")
    parser.add_argument("--server", type=pathlib.Path, help="a bench_server that is built already")
    parser.add_argument("--json", type=pathlib.Path, help="also write every number here")
    return parser.parse_args()


def tool_path(tool):
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def build():
    command = ["cargo", "build", "--release", "--package", "airlift-serve"]
    command += ["--example", "bench_server", "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "bench_server" and message.get("executable"):
            return pathlib.Path(message["executable"])
    sys.exit("bench: cargo did not say where bench_server is")


class Server:
    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    def cpu_seconds(self):
        """Time that all threads of the server spent on a core."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def start_nginx(directory):
    text = (HERE / "nginx.conf.in").read_text().replace("@DIR@", str(directory))
    ports = {name: free_port() for name in NGINX}
    for name, word in NGINX.items():
        text = text.replace(word, str(ports[name]))
    configuration = directory / "nginx.conf"
    configuration.write_text(text)
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, tool_path("nginx"), "-p", directory, "-c", configuration],
        stderr=subprocess.DEVNULL,
    )
    return [Server(name, process, wait_for(process, port)) for name, port in ports.items()]


def start_airlift(binary, part):
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, binary, part], stdout=subprocess.PIPE, text=True
    )
    # The first line is the address it listens on.
    port = int(process.stdout.readline().rpartition(":")[2])
    return Server(OURS, process, wait_for(process, port))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, port):
    for _ in range(100):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port
        time.sleep(0.05)
    sys.exit(f"bench: nothing listens on port {port}")


def check(server, path, blob):
    """Speed of wrong answers is no speed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for fields, status, expected in [
        ({}, 200, blob),
        ({"Range": "bytes=4096-8191"}, 206, blob[4096:8192]),
    ]:
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        if (answer.status, answer.read()) != (status, expected):
            sys.exit(f"bench: {server.name} answers wrongly")
    connection.close()


def measure(servers, path, total, options):
    results = {}
    for size in options.sizes:
        rows = results.setdefault(size, {server.name: [] for server in servers})
        for turn in range(-1, options.rounds):
            for server in servers:
                run = one_turn(server, path, total, size, options.seconds)
                # The first turn of each warms caches and is not counted.
                if turn >= 0:
                    rows[server.name].append(run)
    return results


def one_turn(server, path, total, size, seconds):
    before = server.cpu_seconds()
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["-s", HERE / "ranges.lua", f"http://127.0.0.1:{server.port}{path}", "--"]
    command += [str(total), str(size)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cpu = server.cpu_seconds() - before
    run = json.loads(output.splitlines()[-1])
    if run["failed"] or not run["requests"]:
        sys.exit(f"bench: {server.name} failed {run['failed']} requests of {run['requests']}")
    run["rate"] = run["requests"] / run["seconds"]
    run["rate_per_core"] = run["requests"] / cpu
    run["busy"] = cpu / run["seconds"]
    return run


def report(results, options):
    print("| request | server | requests/s | per core-second | server busy | p99 |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for size, rows in results.items():
        for name, runs in rows.items():
            print(f"| {title(size, options)} | {name} | {middle(runs, 'rate'):,.0f} "
                  f"| {middle(runs, 'rate_per_core'):,.0f} | {middle(runs, 'busy'):.0%} "
                  f"| {middle(runs, 'p99_us') / 1000:.2f} ms |")
    print("\n| request | airlift / best nginx, requests/s | airlift / best nginx, per core-second |")
    print("| --- | ---: | ---: |")
    for size, rows in results.items():
        ratios = [f"{ratio(rows, key):.2f}" for key in ("rate", "rate_per_core")]
        print(f"| {title(size, options)} | {ratios[0]} | {ratios[1]} |")
    print(f"\nMedians of {options.rounds} turns of {options.seconds} s each, taken in alternation; "
          f"one core a server, wrk -t1 -c{CONNECTIONS} on another.")


def title(size, options):
    return f"{size} B range" if size else f"whole, {options.blob} B"


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def ratio(rows, key):
    """The smallest of the medians of ours over each nginx, turn by turn: neighbours in time."""
    return min(
        statistics.median(ours[key] / theirs[key] for ours, theirs in zip(rows[OURS], rows[name]))
        for name in NGINX
    )


if __name__ == "__main__":
    main()
