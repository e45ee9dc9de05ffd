// SPDX-License-Identifier: MIT
/** Hosts with a xenstored: the simulated one, and Debian's own xenstored on as much of a Xen as it asks for. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { XenStore } from "../../src/xenstore/client.js";
import { encode, MessageReader, strings, wordsOf, XS } from "../../src/xenstore/wire.js";
import { xenTool } from "./judges.js";

export interface XenstoredHost {
  /** Of the socket. */
  readonly path: string;
  /** Domain 5 is built, with a name. */
  introduce(): Promise<void>;
  /** Domain 5 has shut down. */
  shutDown(): Promise<void>;
  /** Domain 5 is destroyed. */
  destroy(): Promise<void>;
  close(): Promise<void>;
}

export const DOMID = 5;

export async function simulated(directory: string): Promise<XenstoredHost> {
  const store = await SimXenstored.listen(join(directory, "socket"));
  return {
    path: store.path,
    introduce: async () => store.introduce(DOMID, "five"),
    shutDown: async () => store.shutDown(),
    destroy: async () => store.release(DOMID),
    close: async () => store.close(),
  };
}

/** What test/xenstore/c/xen.c says. */
export async function debian(directory: string): Promise<XenstoredHost> {
  const [path, domains, events] = ["socket", "domains", "events"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const xen = join(directory, "xen.so");
  const source = join(PACKAGE_ROOT, "test", "xenstore", "c", "xen.c");
  execFileSync(process.env["CC"] ?? "cc", ["-shared", "-fPIC", "-o", xen, source, "-ldl"]);
  execFileSync("mkfifo", [events]);
  const has = (...lines: string[]): void => writeFileSync(domains, ["0 running", ...lines, ""].join("\n"));
  has();
  const env = {
    ...process.env,
    LD_PRELOAD: xen,
    XEN_DOMAINS: domains,
    XEN_EVENTS: events,
    XENSTORED_RUNDIR: directory,
  };
  const argv = ["--no-fork", "--output-pid", "--pid-file", join(directory, "pid")];
  const daemon = spawn(xenTool("xenstored") as string, argv, { env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(daemon, "exit");
  // It says its pid once it listens.
  await Promise.race([
    once(daemon.stdout, "data"),
    exited.then(([status]) => Promise.reject(new Error(`xenstored ended with ${status}`))),
  ]);
  const change = (state: string): void => {
    has(`${DOMID} ${state}`);
    writeFileSync(events, "!");
  };
  return {
    path,
    introduce: async () => {
      has(`${DOMID} running`);
      await ask(path, XS.introduce, String(DOMID), "0", "1");
      await using(path, (store) => store.write(`/local/domain/${DOMID}/name`, "five"));
    },
    shutDown: async () => change("shutdown"),
    destroy: async () => {
      await using(path, (store) => store.remove(`/local/domain/${DOMID}`)); // as libxl does
      change("dying");
    },
    close: async () => {
      daemon.kill();
      await exited;
    },
  };
}

async function using(path: string, act: (store: XenStore) => Promise<void>): Promise<void> {
  const store = await XenStore.connect({ path });
  await act(store);
  store.close();
}

/** One call of those that our client has no use for. Returns the words of its answer; rejects with the error's name. */
export async function ask(path: string, type: number, ...words: string[]): Promise<string[]> {
  const socket = connect(path);
  socket.write(encode(type, 1, strings(...words)));
  const reader = new MessageReader();
  for await (const chunk of socket) {
    for (const message of reader.push(chunk as Buffer)) {
      const answer = wordsOf(message.payload);
      socket.destroy();
      if (message.type === XS.error) throw new Error(`call ${type} of xenstored: ${answer[0]}`);
      return answer;
    }
  }
  throw new Error(`call ${type} of xenstored: it closed the connection`);
}
