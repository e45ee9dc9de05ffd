// SPDX-License-Identifier: MIT
/** Two processes have the same line open while a guest goes from one to the other on the same host. */

import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { guestProgram, withDirectory } from "../support/ioreqd.js";
import { type Supervised, supervised } from "../takeover/supervised.js";

const PATIENCE_MS = 120_000;

const saveTo = (all: Supervised, file: string) => all.ioreqdLater("save", "1", file, "--state-dir", all.path("state"));

test(
  "a socket that the source listens on is the new guest's, and the source's again where that does not come",
  async () => {
    await withDirectory(async (directory) => {
      const [file, path] = [`${directory}/saved`, `${directory}/line`];
      /** Who listens there is told by what it sends to whoever connects. */
      const sending = (letter: string): string =>
        guestProgram(`
        vcpu.configWrite("00:10.0", 0x10, 4, 0xc000);
        vcpu.configWrite("00:10.0", 4, 2, 7);
        const asleep = new Int32Array(vcpu.shared);
        for (;;) { vcpu.out8(0xc000, ${letter.charCodeAt(0)}); Atomics.wait(asleep, 0, 0, 5); }
      `);
      const heard = async (): Promise<string> => {
        const socket = connect(path);
        const [bytes] = (await once(socket, "data")) as [Buffer];
        socket.destroy();
        return bytes.toString("latin1").slice(-1);
      };
      const serve = (letter: string, args: readonly string[], act: (all: Supervised) => Promise<void>): Promise<void> =>
        supervised(
          sending(letter),
          args,
          async (all) => {
            await all.start();
            await act(all);
          },
          { vcpus: 1 },
        );
      const device = ["--device", `pci-serial,addr=10.0,chardev=unix:${path}`];
      await serve("s", device, async (source) => {
        expect(await saveTo(source, file)).toMatchObject({ status: 0 });
        source.begin();
        expect(await heard()).toBe("s");
        await serve("d", ["--restore", file, ...device], async (there) => {
          there.begin();
          expect(await heard()).toBe("d");
          expect(await there.end("SIGTERM")).toBe(0);
        });
        expect(await heard()).toBe("s");
        await serve("d", ["--restore", file, ...device], async (there) => {
          there.begin();
          expect(await heard()).toBe("d");
          expect(await source.end("SIGTERM")).toBe(0);
          expect(await heard()).toBe("d");
          expect(await there.end("SIGTERM")).toBe(0);
        });
      });
      expect(readdirSync(directory)).toEqual(["saved"]);
    });
  },
  PATIENCE_MS,
);
