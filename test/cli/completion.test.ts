// SPDX-License-Identifier: MIT
/** The completion, asked by bash itself as it asks when Tab is pressed. */

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { ioreqd, PROGRAM, withDirectory } from "../support/ioreqd.js";

const script = ioreqd("completion", "bash").stdout;

/** Where bash divides the words of a command line for a completion. Source: bash(1), COMP_WORDBREAKS. */
const DIVIDED = /(=)/;

/** What is offered at the end of this line. `path`: a directory that comes first on PATH. */
function offered(line: string, path?: string): string[] {
  const words = line
    .split(" ")
    .flatMap((word) => word.split(DIVIDED).filter((part, i, all) => part || i > 0 || all.length === 1));
  if (words.at(-1) === "" && words.at(-2) === "=") words.pop();
  const ask = `${script}
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _ioreqd
    [[ \${#COMPREPLY[@]} -eq 0 ]] || printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", ask, "bash", PROGRAM, ...words.slice(1)], {
    encoding: "utf8",
    env: {
      ...process.env,
      PATH: [path, dirname(process.execPath), process.env["PATH"]].filter(Boolean).join(delimiter),
    },
  });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((word) => word !== "");
}

/** An xl that knows these guests, on a PATH of its own. */
function withGuests<T>(guests: Readonly<Record<string, number>>, act: (path: string) => T): Promise<T> {
  return withDirectory((directory) => {
    const rows = Object.entries({ "Domain-0": 0, ...guests }).map(
      ([name, id]) => `${name.padEnd(40)} ${id}   512   1   -b----   4.2`,
    );
    writeFileSync(
      join(directory, "xl"),
      `#!/bin/sh\ncat <<'END'\n${["Name                                        ID   Mem VCPUs\tState\tTime(s)", ...rows].join("\n")}\nEND\n`,
    );
    chmodSync(join(directory, "xl"), 0o755);
    return act(directory);
  });
}

test("the script is bash without a mistake", () => {
  expect(spawnSync("bash", ["-n"], { input: script, encoding: "utf8" }).stderr).toBe("");
});

test("commands are offered, and the hidden one is not", () => {
  expect(offered("ioreqd ")).toEqual(expect.arrayContaining(["run", "demo", "sim", "devices", "doctor", "completion"]));
  expect(offered("ioreqd de")).toEqual(["dev", "demo", "devices", "device"]);
  expect(offered("ioreqd help ins")).toEqual(["inspect"]);
  expect(offered("ioreqd ")).not.toContain("dm");
});

test("a command's options are offered, and its own only", () => {
  expect(offered("ioreqd run --p")).toEqual(["--poll-window", "--poll-budget"]);
  expect(offered("ioreqd inspect --")).toEqual(["--state-dir", "--json", "--help"]);
  expect(offered("ioreqd --v")).toEqual(["--version"]);
});

test("of device its own commands are offered, then their operands, each in its place", () =>
  withDirectory((directory) => {
    mkdirSync(join(directory, "7"));
    writeFileSync(join(directory, "7", "state"), "");
    expect(offered("ioreqd device ")).toEqual(["add", "remove", "revive", "list", "help"]);
    expect(offered("ioreqd device help r")).toEqual(["remove", "revive"]);
    expect(offered("ioreqd device list --")).toEqual(["--state-dir", "--json", "--help"]);
    expect(offered(`ioreqd device add --state-dir ${directory} `)).toEqual(["7"]);
    expect(offered(`ioreqd device add --state-dir ${directory} 7 ed`)).toEqual(["edu"]);
    expect(offered(`ioreqd device add --state-dir=${directory} 7 ed`)).toEqual(["edu"]);
    expect(offered("ioreqd device add 7 edu ")).toEqual([]);
  }));

test("an option's choices are offered, also after =", () => {
  expect(offered("ioreqd run --bufioreq ")).toEqual(["off", "legacy", "atomic"]);
  expect(offered("ioreqd run --ffi=")).toEqual(["koffi", "ffi-napi"]);
  expect(offered("ioreqd run --ffi=ff")).toEqual(["ffi-napi"]);
  expect(offered("ioreqd run --ffi=ko")).toEqual(["koffi"]);
  expect(offered("ioreqd explain --poll")).toEqual([]);
  expect(offered("ioreqd completion ")).toEqual(["bash"]);
});

test("devices are offered by name, and modules by path", () =>
  withDirectory((directory) => {
    writeFileSync(join(directory, "doorbell.ts"), "");
    expect(offered("ioreqd run --device p")).toEqual([
      "pci-bridge",
      "pcie-root-port",
      "pci-serial",
      "pci-testdev",
      "pvpanic",
    ]);
    expect(offered("ioreqd run -d 1 -D ed")).toEqual(["edu"]);
    expect(offered("ioreqd explain cou")).toEqual(["counter"]);
    expect(offered(`ioreqd explain ${directory}/`)).toEqual([join(directory, "doorbell.ts")]);
  }));

test("guests that xl lists are offered by id", () =>
  withGuests({ alpha: 3, beta: 12 }, (path) => {
    expect(offered("ioreqd run --domid ", path)).toEqual(["3", "12"]);
    expect(offered("ioreqd run -d 1", path)).toEqual(["12"]);
  }));

test("domains with a state file are offered to inspect", () =>
  withDirectory((directory) => {
    mkdirSync(join(directory, "7"));
    writeFileSync(join(directory, "7", "state"), "");
    mkdirSync(join(directory, "8"));
    expect(offered(`ioreqd inspect --state-dir ${directory} `)).toEqual(["7"]);
    expect(offered(`ioreqd inspect --state-dir=${directory} `)).toEqual(["7"]);
  }));

test("files are offered where a file is wanted, directories where a directory is", () =>
  withDirectory((directory) => {
    writeFileSync(join(directory, "a.json"), "");
    mkdirSync(join(directory, "b"));
    expect(offered(`ioreqd run --config ${directory}/`).sort()).toEqual([
      join(directory, "a.json"),
      join(directory, "b"),
    ]);
    expect(offered(`ioreqd run --state-dir ${directory}/`)).toEqual([join(directory, "b")]);
  }));
