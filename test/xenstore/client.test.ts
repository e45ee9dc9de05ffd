// SPDX-License-Identifier: MIT
/** The xenstore client against peers that misbehave or are not there; contract.test.ts has those that behave. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { XenStore } from "../../src/xenstore/client.js";
import { encode, MessageReader, strings, XS } from "../../src/xenstore/wire.js";
import { withDirectory } from "../support/ioreqd.js";

const coded = (code: string, message: string): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string });

/** A client whose xenstored is the test: `answer` gets each request. */
function withPeer(
  answer: (socket: Socket, type: number, request: number) => void,
  act: (store: XenStore) => Promise<void>,
  timeoutMs = 10_000,
): Promise<void> {
  return withDirectory(async (directory) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      const reader = new MessageReader();
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        for (const { type, request } of reader.push(chunk)) answer(socket, type, request);
      });
    });
    const path = join(directory, "socket");
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const store = await XenStore.connect({ path, timeoutMs });
    try {
      await act(store);
    } finally {
      store.close();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
}

test("where nobody listens, the message says where, and what to do", async () => {
  await expect(XenStore.connect({ path: "/nowhere/socket" })).rejects.toEqual(
    coded("XENSTORE_UNREACHABLE", "connect to xenstored at /nowhere/socket: ENOENT"),
  );
});

test("a refusal names the call, the node and the reason", () =>
  withPeer(
    (socket, _type, request) => socket.write(encode(XS.error, request, strings("EACCES"))),
    async (store) => {
      await expect(store.write("/a", "1")).rejects.toEqual(
        coded("XENSTORE_REFUSED", "write /a: EACCES (not permitted"),
      );
    },
  ));

test("an answer in pieces, with watch events in front of it, is put together", () =>
  withPeer(
    (socket, type, request) => {
      const event = encode(XS.watchEvent, 0, strings("/w/x", "1"));
      const answer = encode(type, request, type === XS.read ? Buffer.from("value") : strings("OK"));
      for (const byte of Buffer.concat([event, answer])) socket.write(Buffer.of(byte));
    },
    async (store) => {
      const fired: string[] = [];
      await store.watch("/w", (path) => fired.push(path));
      expect(await store.read("/a")).toBe("value");
      expect(fired).toEqual(["/w/x", "/w/x"]);
    },
  ));

test.each<[string, (type: number, request: number) => Buffer, string]>([
  ["an answer to nobody's request", (type, request) => encode(type, request + 7, strings("OK")), "which nobody made"],
  ["an answer of another type", (_type, request) => encode(XS.mkdir, request, strings("OK")), "an answer of type 12"],
  ["a message that is too long", (type, request) => encode(type, request, Buffer.alloc(5000)), "5000 bytes"],
])("%s ends the connection with a clear word", (_what, answer, message) =>
  withPeer(
    (socket, type, request) => socket.write(answer(type, request)),
    async (store) => {
      await expect(store.read("/a")).rejects.toEqual(coded("XENSTORE_LOST", message));
      expect(await store.lost).toEqual(coded("XENSTORE_LOST", message));
      await expect(store.read("/b")).rejects.toEqual(coded("XENSTORE_LOST", message));
    },
  ),
);

test("a xenstored that goes away in the middle fails what is under way, and says so once", () =>
  withPeer(
    (socket) => socket.destroy(),
    async (store) => {
      const both = await Promise.allSettled([store.read("/a"), store.read("/b")]);
      expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
      expect(await store.lost).toEqual(coded("XENSTORE_LOST", "guests that run go on without it"));
    },
  ));

test("a xenstored that hangs counts as gone after the time it was given", () =>
  withPeer(
    () => {},
    async (store) => {
      await expect(store.read("/a")).rejects.toEqual(coded("XENSTORE_LOST", "no answer to read /a within 20 ms"));
    },
    20,
  ));

test("an answer that came while this process stood still is an answer", () =>
  withDirectory(async (directory) => {
    const path = join(directory, "socket");
    // A process of its own, which answers while ours does nothing.
    const peer = spawn(process.execPath, ["-e", PEER, path], { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(peer, "exit");
    try {
      await once(peer.stdout, "data");
      const store = await XenStore.connect({ path, timeoutMs: 20 });
      const read = store.read("/a");
      const until = performance.now() + 200;
      while (performance.now() < until) {
        // as a device does that has much to compute
      }
      expect(await read).toBe("value");
      store.close();
    } finally {
      peer.kill();
      await exited;
    }
  }));

/** Answers the first thing it is asked, which must be read, at once. */
const PEER = `
  const server = require("net").createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (request) => {
      request.writeUInt32LE(5, 12);
      socket.write(Buffer.concat([request.subarray(0, 16), Buffer.from("value")]));
    });
  });
  server.listen(process.argv[1], () => console.log("listening"));
`;

test("a callback that throws, or rejects, is a warning and harms neither the others nor the connection", () =>
  withPeer(
    (socket, type, request) => {
      socket.write(encode(type, request, type === XS.read ? Buffer.from("value") : strings("OK")));
      for (const token of type === XS.read ? ["1", "2", "3"] : [])
        socket.write(encode(XS.watchEvent, 0, strings("/w", token)));
    },
    async (store) => {
      const warned = jest.spyOn(process, "emitWarning").mockImplementation(() => {});
      await store.watch("/w", () => {
        throw new Error("first");
      });
      await store.watch("/w", () => Promise.reject(new Error("second")));
      const third = new Promise<string>((resolve) => void store.watch("/w", resolve));
      await store.read("/a");
      expect(await third).toBe("/w");
      expect(await store.read("/b")).toBe("value");
      for (const which of ["first", "second"]) {
        const words = `a watch of xenstore, called for /w, threw: ${which}`;
        expect(warned).toHaveBeenCalledWith(words, "XenStoreWarning");
      }
      warned.mockRestore();
    },
  ));

test("an event for nobody's watch, and one without words, are passed over", () =>
  withPeer(
    (socket, type, request) => {
      socket.write(encode(XS.watchEvent, 0, strings("/w", "99")));
      socket.write(encode(XS.watchEvent, 0, Buffer.alloc(0)));
      socket.write(encode(type, request, Buffer.from("value")));
    },
    async (store) => {
      expect(await store.read("/a")).toBe("value");
    },
  ));

test("closing it fails what is under way, calls no watch any more, and is not a loss", () =>
  withPeer(
    (socket, type, request) => {
      if (type === XS.watch) socket.write(encode(type, request, strings("OK")));
    },
    async (store) => {
      const watch = await store.watch("/w", () => {});
      const read = store.read("/a");
      store.close();
      await expect(read).rejects.toEqual(coded("XENSTORE_LOST", "it was closed by this process"));
      await watch.close();
      expect(await Promise.race([store.lost, new Promise((resolve) => setImmediate(() => resolve("kept")))])).toBe(
        "kept",
      );
    },
  ));

test("a list in parts that changes on the way is begun anew, and one that ends nowhere is refused", () => {
  let parts = 0;
  return withPeer(
    (socket, type, request) => {
      if (type === XS.directory) return socket.write(encode(XS.error, request, strings("E2BIG")));
      parts += 1;
      // Generations 1, 2, 2: the second part belongs to another list than the first.
      const answer = [["1", "old"], ["2", "x"], ["2", "new"], ["2", "last", ""], ["3"]][parts - 1] as string[];
      return socket.write(encode(type, request, strings(...answer)));
    },
    async (store) => {
      expect(await store.list("/a")).toEqual(["new", "last"]);
      await expect(store.list("/a")).rejects.toEqual(coded("XENSTORE_REFUSED", "list /a from byte 0: EIO"));
    },
  );
});

test.each(["connected", "asked"])("a process that has let go of it ends, %s or not", (state) =>
  withDirectory(async (directory) => {
    const xenstored = await SimXenstored.listen(join(directory, "socket"));
    const client = JSON.stringify(join(__dirname, "..", "..", "src", "xenstore", "client.js"));
    const program = `
      require(${client}).XenStore.connect({ path: process.argv[1] }).then(async (store) => {
        await store.watch("@releaseDomain", () => {});
        store.unref();
        if (process.argv[2] === "asked") void store.read("/");
      });`;
    const child = spawn(process.execPath, ["-e", program, xenstored.path, state], { stdio: "inherit" });
    expect(await once(child, "exit")).toEqual([0, null]);
    xenstored.close();
  }),
);

test("without a path it looks where libxenstore does, and names all places where nobody is", async () => {
  const before = { ...process.env };
  const messageFor = async (env: NodeJS.ProcessEnv): Promise<unknown> => {
    process.env = { ...before, XENSTORED_PATH: "", XENSTORED_RUNDIR: "", ...env };
    return XenStore.connect().then(
      () => "connected",
      (error: Error) => error.message,
    );
  };
  try {
    expect(await messageFor({ XENSTORED_PATH: "/nowhere/path", XENSTORED_RUNDIR: "/nowhere" })).toContain(
      "at /nowhere/path: ENOENT",
    );
    expect(await messageFor({ XENSTORED_RUNDIR: "/nowhere" })).toContain("at /nowhere/socket: ENOENT");
    if (!existsSync("/run/xenstored"))
      expect(await messageFor({})).toContain("at /run/xenstored/socket, nor at /var/run/xenstored/socket: ENOENT");
  } finally {
    process.env = before;
  }
});

test("a path that is too long for a socket is told as such", async () => {
  const path = `/${"x".repeat(200)}`;
  await expect(XenStore.connect({ path })).rejects.toEqual(coded("XENSTORE_UNREACHABLE", path));
});
