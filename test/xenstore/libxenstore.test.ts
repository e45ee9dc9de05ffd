// SPDX-License-Identifier: MIT
/** The simulated host's xenstored, judged by Xen's own client: libxenstore, in Debian's xenstore-utils. */

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { withDirectory } from "../support/ioreqd.js";
import { testJudgedBy, xenTool } from "../support/judges.js";

type Tool = (name: string, ...args: string[]) => Promise<string>;

/** `xenstore("read", "/a")` is what `xenstore-read -s /a` prints; it rejects where that fails. */
function withTools(act: (xenstore: Tool, store: SimXenstored) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    const store = await SimXenstored.listen(join(directory, "socket"));
    const env = { ...process.env, XENSTORED_PATH: store.path };
    const xenstore: Tool = async (name, ...args) => {
      const program = xenTool(`xenstore-${name}`) as string;
      return (await promisify(execFile)(program, ["-s", ...args], { env })).stdout;
    };
    try {
      await act(xenstore, store);
    } finally {
      store.close();
    }
  });
}

const judged = testJudgedBy("xenstore-utils");

judged("xenstore-write, -read, -list, -exists and -rm do what they say", () =>
  withTools(async (xenstore) => {
    await xenstore("write", "/a/b", "one", "/a/c/d", "two words");
    expect(await xenstore("read", "/a/b", "/a/c/d")).toBe("one\ntwo words\n");
    expect(await xenstore("list", "/a")).toBe("b\nc\n");
    await xenstore("rm", "/a/b");
    await expect(xenstore("exists", "/a/b")).rejects.toMatchObject({ code: 1 });
    expect(await xenstore("exists", "/a/c")).toBe("");
    await expect(xenstore("read", "/a/b")).rejects.toMatchObject({ stderr: expect.stringContaining("read path /a/b") });
  }),
);

judged("xenstore-ls shows the tree of a domain, with the permissions that xenstore-chmod gave", () =>
  withTools(async (xenstore, store) => {
    store.introduce(7, "seven");
    await xenstore("chmod", "/local/domain/7/name", "n0", "r7");
    const vm = store.read("/local/domain/7/vm") as string;
    expect(await xenstore("ls", "/local/domain/7")).toBe(`vm = "${vm}"\nname = "seven"\ndomid = "7"\n`);
    expect(await xenstore("ls", vm)).toBe(`uuid = "${vm.slice("/vm/".length)}"\nname = "seven"\n`);
    expect(await xenstore("ls", "-p", "/local/domain/7")).toMatch(/name = "seven" [ .]+ \(n0,r7\)/);
  }),
);

judged("xenstore-ls shows all of a directory that is longer than a message", () =>
  withTools(async (xenstore, store) => {
    for (let i = 0; i < 700; i += 1) store.write(`/long/entry-with-a-long-name-${i}`, String(i));
    const lines = (await xenstore("ls", "-f", "/long")).trim().split("\n");
    expect(lines).toHaveLength(700);
    expect(lines.at(-1)).toBe('/long/entry-with-a-long-name-699 = "699"');
  }),
);

judged("xenstore-watch prints what changes, and when domains come and go", () =>
  withTools(async (_xenstore, store) => {
    const env = { ...process.env, XENSTORED_PATH: store.path };
    const argv = ["-s", "-n", "5", "/w", "@releaseDomain"];
    const watcher = spawn(xenTool("xenstore-watch") as string, argv, { env, stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    const exited = once(watcher, "exit");
    for await (const line of createInterface(watcher.stdout)) {
      lines.push(line);
      if (lines.length === 2) {
        store.write("/w/x", "1");
        store.shutDown();
        store.write("/w/y", "1");
      }
    }
    expect(await exited).toEqual([0, null]);
    expect(lines).toEqual(["/w", "@releaseDomain", "/w/x", "@releaseDomain", "/w/y"]);
  }),
);
