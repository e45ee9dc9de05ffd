// SPDX-License-Identifier: MIT
/** The xenstore client against the simulated host's xenstored, and against peers that misbehave. */

import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { XenStore } from "../../src/xenstore/client.js";
import { encode, MessageReader, strings, XS } from "../../src/xenstore/wire.js";
import { withDirectory } from "../support/ioreqd.js";

const coded = (code: string, message: string): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string });

/** A store and a client of it. */
function withStore(act: (store: XenStore, xenstored: SimXenstored) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    const xenstored = await SimXenstored.listen(join(directory, "socket"));
    const store = await XenStore.connect({ path: xenstored.path });
    await act(store, xenstored);
    store.close();
    xenstored.close();
  });
}

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
    await act(store);
    store.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
}

test("what is written is read, listed, and removed with all below it", () =>
  withStore(async (store) => {
    await store.write("/a/b", "one");
    await store.write("/a/c/d", "zwei – ü");
    expect([await store.read("/a/b"), await store.read("/a/c/d")]).toEqual(["one", "zwei – ü"]);
    expect(await store.list("/a")).toEqual(["b", "c"]);
    await store.remove("/a");
    expect([await store.read("/a/b"), await store.list("/a")]).toEqual([null, null]);
  }));

test("a node that is missing reads as null, and removing it is fine, also where its parent is missing", () =>
  withStore(async (store) => {
    expect([await store.read("/no"), await store.list("/no")]).toEqual([null, null]);
    await store.remove("/no");
    await store.remove("/no/such/node");
  }));

test("a watch fires when it is made, for changes at and below it, and not after it is closed", () =>
  withStore(async (store) => {
    const fired: string[] = [];
    const watch = await store.watch("/w", (path) => fired.push(path));
    await store.write("/w/deep/node", "1");
    await store.write("/other", "1");
    await store.remove("/w");
    await watch.close();
    await store.write("/w", "2");
    await store.read("/w");
    expect(fired).toEqual(["/w", "/w/deep/node", "/w"]);
  }));

test("a domain is introduced until it is destroyed; its shutting down fires too", () =>
  withStore(async (store, xenstored) => {
    const seen: boolean[] = [];
    xenstored.introduce(5, "five");
    await store.watch("@releaseDomain", () => void store.isIntroduced(5).then((is) => seen.push(is)));
    xenstored.shutDown();
    xenstored.release(5);
    await store.read("/");
    expect([await store.isIntroduced(5), await store.isIntroduced(0)]).toEqual([false, true]);
    expect(seen.at(-1)).toBe(false);
    expect(await store.read("/local/domain/5/name")).toBeNull();
  }));

test("many requests at once get each their own answer", () =>
  withStore(async (store) => {
    const numbers = Array.from({ length: 500 }, (_, i) => i);
    await Promise.all(numbers.map((i) => store.write(`/n/${i}`, String(i))));
    expect(await Promise.all(numbers.map((i) => store.read(`/n/${i}`)))).toEqual(numbers.map(String));
  }));

test("a value that is too long is refused before it is sent", () =>
  withStore(async (store) => {
    await expect(store.write("/a", "x".repeat(5000))).rejects.toEqual(coded("XENSTORE_REFUSED", "E2BIG"));
    expect(await store.read("/a")).toBeNull();
  }));

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
