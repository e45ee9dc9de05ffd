// SPDX-License-Identifier: MIT
/** The xenstore client, and what it finds: the simulated host's xenstored and Debian's are held to the same. */

import { XenStore } from "../../src/xenstore/client.js";
import { XS } from "../../src/xenstore/wire.js";
import { withDirectory } from "../support/ioreqd.js";
import { testJudgedBy } from "../support/judges.js";
import { ask, DOMID, debian, simulated, type XenstoredHost } from "../support/xenstoreds.js";

const coded = (code: string, message: string): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string });

/**
 * All events until now: they come before the answer to what is asked after them. Until they have come, xenstored
 * doesn't add another that equals them.
 */
const heard = async (store: XenStore): Promise<void> => void (await store.read("/"));

const HOSTS = [
  ["simulated", simulated, test],
  ["Debian's xenstored", debian, testJudgedBy("xen-utils")],
] as const;

describe.each(HOSTS)("%s", (_label, start, onHost) => {
  /** Two clients, of which the second is another process's as far as xenstored can tell. */
  const withStore = (act: (store: XenStore, other: XenStore, host: XenstoredHost) => Promise<void>): Promise<void> =>
    withDirectory(async (directory) => {
      const host = await start(directory);
      try {
        const store = await XenStore.connect({ path: host.path });
        const other = await XenStore.connect({ path: host.path });
        await act(store, other, host).finally(() => {
          store.close();
          other.close();
        });
      } finally {
        await host.close();
      }
    });

  onHost("what is written is read, listed in its order, and removed with all below it", () =>
    withStore(async (store, other) => {
      await store.write("/a/b", "one");
      await store.write("/a/c/d", "zwei – ü");
      await store.write("/a/a", "");
      expect([await other.read("/a/b"), await other.read("/a/c/d"), await other.read("/a/a")]).toEqual([
        "one",
        "zwei – ü",
        "",
      ]);
      expect(new Set(await other.list("/a"))).toEqual(new Set(["a", "b", "c"]));
      expect([await other.read("/a/c"), await other.list("/a/b")]).toEqual(["", []]);
      await store.remove("/a");
      expect([await other.read("/a/b"), await other.list("/a")]).toEqual([null, null]);
    }),
  );

  onHost("a node that is missing reads as null, and removing it is fine, also where its parent is missing", () =>
    withStore(async (store) => {
      expect([await store.read("/no"), await store.list("/no")]).toEqual([null, null]);
      await store.remove("/no");
      await store.remove("/no/such/node");
    }),
  );

  onHost("a new node has its parent's permissions, until it is given its own", () =>
    withStore(async (store, _other, { path }) => {
      const permissions = (node: string): Promise<string[]> => ask(path, XS.getPerms, node);
      await store.write("/p", "");
      await ask(path, XS.setPerms, "/p", "n0", "r5", "b7");
      await store.write("/p/q/r", "");
      expect(await permissions("/p/q/r")).toEqual(["n0", "r5", "b7"]);
      await ask(path, XS.setPerms, "/p/q", "r0");
      expect([await permissions("/p/q"), await permissions("/p/q/r")]).toEqual([["r0"], ["n0", "r5", "b7"]]);
      await expect(ask(path, XS.setPerms, "/p", "x0")).rejects.toThrow("EINVAL");
    }),
  );

  onHost.each([
    ["nothing", ""],
    ["a / at the end", "/a/"],
    ["an empty name", "/a//b"],
    ["a space", "/a b"],
    ["a letter beyond ASCII", "/ä"],
    ["a NUL", "a\0b"],
    ["an event", "@releaseDomains"],
    ["more than 3072 bytes", `/${"x".repeat(3072)}`],
  ])("a path with %s is refused", (_what, path) =>
    withStore(async (store) => {
      await expect(store.write(path, "1")).rejects.toEqual(coded("XENSTORE_REFUSED", "EINVAL"));
    }),
  );

  onHost("a list that is longer than a message is complete", () =>
    withStore(async (store) => {
      const names = Array.from({ length: 700 }, (_, i) => `entry-with-a-long-name-${i}`);
      await Promise.all(names.map((name) => store.write(`/long/${name}`, "")));
      const listed = (await store.list("/long")) as string[];
      expect(listed).toHaveLength(names.length);
      expect(new Set(listed)).toEqual(new Set(names));
    }),
  );

  onHost("many requests at once get each their own answer", () =>
    withStore(async (store) => {
      const numbers = Array.from({ length: 500 }, (_, i) => i);
      await Promise.all(numbers.map((i) => store.write(`/n/${i}`, String(i))));
      expect(await Promise.all(numbers.map((i) => store.read(`/n/${i}`)))).toEqual(numbers.map(String));
    }),
  );

  onHost("the longest value there is comes back whole, and one byte more is refused", () =>
    withStore(async (store) => {
      const longest = "x".repeat(4096 - "/a\0".length);
      await store.write("/a", longest);
      expect(await store.read("/a")).toBe(longest);
      await expect(store.write("/a", `${longest}x`)).rejects.toEqual(coded("XENSTORE_REFUSED", "write /a: E2BIG"));
      expect(await store.read("/a")).toBe(longest);
    }),
  );

  onHost("a watch fires when it is made, for changes at and below it, and not after it is closed", () =>
    withStore(async (store, other, { path }) => {
      const fired: string[] = [];
      const watch = await store.watch("/w", (path) => fired.push(path));
      await heard(store);
      await other.write("/w/deep/node", "1");
      await other.write("/wide", "1");
      await ask(path, XS.setPerms, "/w/deep", "n0", "r5");
      await heard(store);
      await other.remove("/w/deep");
      await heard(store);
      await other.remove("/w/deep");
      await heard(store);
      await other.write("/w/deep", "1");
      await heard(store);
      await watch.close();
      await other.write("/w", "2");
      await store.read("/w");
      expect(fired).toEqual(["/w", "/w/deep/node", "/w/deep", "/w/deep", "/w/deep"]);
    }),
  );

  onHost("a watch of a node hears of it being removed with what lies above", () =>
    withStore(async (store, other) => {
      const fired: string[] = [];
      await store.write("/x/y/z", "1");
      await store.watch("/x/y/z", (path) => fired.push(path));
      await heard(store);
      await other.remove("/x");
      await heard(store);
      expect(fired).toEqual(["/x/y/z", "/x/y/z"]);
    }),
  );

  onHost("two watches of one path fire both, and are closed one by one", () =>
    withStore(async (store) => {
      const fired: string[] = [];
      const first = await store.watch("/w", () => fired.push("first"));
      await store.watch("/w", () => fired.push("second"));
      await heard(store);
      await store.write("/w", "1");
      await heard(store);
      await first.close();
      await store.write("/w", "2");
      await heard(store);
      expect(fired.sort()).toEqual(["first", "first", "second", "second", "second"]);
    }),
  );

  onHost("what a transaction does is seen by itself at once, by others at its end, and fires then", () =>
    withStore(async (store, other) => {
      const fired: string[] = [];
      await store.write("/t/old", "1");
      await other.watch("/t", (path) => fired.push(path));
      await heard(other);
      const result = await store.transaction(async (t) => {
        await t.write("/t/new", "2");
        await t.remove("/t/old");
        expect([await t.read("/t/new"), await t.read("/t/old"), await t.list("/t")]).toEqual(["2", null, ["new"]]);
        expect([await other.read("/t/new"), await other.read("/t/old")]).toEqual([null, "1"]);
        expect(fired).toEqual(["/t"]);
        return "done";
      });
      expect(result).toBe("done");
      await heard(other);
      expect(await other.list("/t")).toEqual(["new"]);
      expect(fired.sort()).toEqual(["/t", "/t/new", "/t/old"]);
    }),
  );

  onHost("a transaction that throws has not happened", () =>
    withStore(async (store, other) => {
      const work = store.transaction(async (t) => {
        await t.write("/t", "1");
        throw new Error("changed my mind");
      });
      await expect(work).rejects.toThrow("changed my mind");
      expect(await other.read("/t")).toBeNull();
    }),
  );

  onHost("a transaction is done again when others changed what it read, and not for anything else", () =>
    withStore(async (store, other) => {
      await store.write("/count", "0");
      let attempts = 0;
      await store.transaction(async (t) => {
        attempts += 1;
        const count = Number(await t.read("/count"));
        await other.write("/elsewhere", String(attempts));
        if (attempts < 3) await other.write("/count", String(count + 10));
        await t.write("/count", String(count + 1));
      });
      expect([attempts, await other.read("/count")]).toEqual([3, "21"]);
    }),
  );

  onHost("counting from two sides at once loses nothing", () =>
    withStore(async (store, other) => {
      await store.write("/count", "0");
      const countWith = async (client: XenStore): Promise<void> => {
        for (let i = 0; i < 20; i += 1)
          await client.transaction(async (t) => t.write("/count", String(Number(await t.read("/count")) + 1)));
      };
      await Promise.all([countWith(store), countWith(other)]);
      expect(await store.read("/count")).toBe("40");
    }),
  );

  onHost("a transaction that can never be completed ends with a clear word", () =>
    withStore(async (store, other) => {
      let attempts = 0;
      const work = store.transaction(async (t) => {
        attempts += 1;
        await t.read("/contested");
        await other.write("/contested", String(attempts));
        await t.write("/contested", "mine");
      });
      await expect(work).rejects.toEqual(coded("XENSTORE_REFUSED", "EAGAIN (others changed the same nodes"));
      expect([attempts, await other.read("/contested")]).toEqual([64, "64"]);
    }),
  );

  onHost("a step that outlives its transaction is refused", () =>
    withStore(async (store) => {
      const leaked = await store.transaction(async (t) => t);
      await expect(leaked.read("/a")).rejects.toEqual(coded("XENSTORE_REFUSED", "after the end of its transaction"));
    }),
  );

  onHost("a domain is introduced until it is destroyed, and each step of its life fires", () =>
    withStore(async (store, _other, host) => {
      const seen: Array<[event: string, introduced: boolean]> = [];
      let next: () => void = () => {};
      const hear = async (event: string): Promise<void> => {
        seen.push([event, await store.isIntroduced(DOMID)]);
        next();
      };
      const events = (count: number): Promise<void> =>
        new Promise((resolve) => {
          next = () => (seen.length >= count ? resolve() : undefined);
          next();
        });
      await store.watch("@introduceDomain", hear);
      await store.watch("@releaseDomain", hear);
      await events(2);
      await host.introduce();
      await events(3);
      expect(await store.read(`/local/domain/${DOMID}/name`)).toBe("five");
      await host.shutDown();
      await events(4);
      await host.destroy();
      await events(5);
      expect(seen).toEqual([
        ["@introduceDomain", false],
        ["@releaseDomain", false],
        ["@introduceDomain", true],
        ["@releaseDomain", true],
        ["@releaseDomain", false],
      ]);
      expect(await store.list(`/local/domain/${DOMID}`)).toBeNull();
    }),
  );

  onHost("domain 0 is introduced, and a path is told for domains that are not", () =>
    withStore(async (store, _other, { path }) => {
      expect([await store.isIntroduced(0), await store.isIntroduced(77)]).toEqual([true, false]);
      const paths = [await ask(path, XS.getDomainPath, "0"), await ask(path, XS.getDomainPath, "77")];
      expect(paths).toEqual([["/local/domain/0"], ["/local/domain/77"]]);
    }),
  );
});
