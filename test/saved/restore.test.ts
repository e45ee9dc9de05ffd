// SPDX-License-Identifier: MIT
/** What the devices of one guest knew is what those of another begin with: real processes, real files. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { control } from "../../src/control/client.js";
import { readSnapshot } from "../../src/state/snapshot.js";
import { guestProgram, withDirectory } from "../support/ioreqd.js";
import { type Supervised, save, supervised } from "../takeover/supervised.js";

const PATIENCE_MS = 120_000;
const IDLE = guestProgram("");

const saveTo = (all: Supervised, file: string) => all.ioreqdLater("save", "1", file, "--state-dir", all.path("state"));

/** A file of what the devices know when a guest has done this. */
async function saved(file: string, program: string, args: readonly string[]): Promise<void> {
  await supervised(
    program,
    args,
    async (all) => {
      await all.start();
      all.begin();
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(await saveTo(all, file)).toMatchObject({ status: 0, stderr: "" });
    },
    { vcpus: 1 },
  );
}

/** Every device of the list, and a bridge with one behind it. */
const DEVICES = [
  "edu,addr=10.0",
  "counter,addr=11.0",
  "msix-probe,addr=12.0",
  "pci-testdev,addr=13.0",
  "pvpanic,addr=14.0",
  "pci-bridge,id=bridge,addr=18.0",
  "counter,bus=bridge,addr=03.0",
  "pcie-root-port,id=port,addr=1c.0,slot=3",
];
const ARGUMENTS = (directory: string): string[] =>
  [...DEVICES, `pci-serial,addr=15.0,chardev=file:${directory}/out`].flatMap((spec) => ["--device", spec]);

const WORK = guestProgram(`
  place(vcpu, "00:11.0", 0xf1000000, 0xc100);
  for (let n = 0; n < 5; n += 1) must(vcpu.read(0xf1000000, 4) === n, "number " + n);
  vcpu.write(0xf100000c, 4, 0x12345678);
  place(vcpu, "00:10.0", 0xf2000000);
  vcpu.write(0xf2000004, 4, 0x55);                         // LIVE
  vcpu.write(0xf2000060, 4, 1);                            // raises the line
  place(vcpu, "00:15.0", 0xf3000000, 0xc300);
  vcpu.configWrite("00:18.0", 0x18, 4, 0x00010100);        // bus numbers of the bridge
  for (const letter of "before") vcpu.out8(0xc300, letter.charCodeAt(0));
`);

describe("a guest with every device", () => {
  test(
    "finds them elsewhere as they were: registers, BARs, bus numbers, the line that is up",
    async () => {
      await withDirectory(async (directory) => {
        const file = `${directory}/saved`;
        await saved(file, WORK, ARGUMENTS(directory));
        expect(statSync(file).mode & 0o777).toBe(0o600);
        const before = readSnapshot(readFileSync(file));

        const there = guestProgram(`
        must(vcpu.read(0xf1000000, 4) === 5, "the next number");
        must(vcpu.read(0xf100000c, 4) === 0x12345678, "SCRATCH");
        must(vcpu.read(0xf2000004, 4) === (~0x55 >>> 0), "LIVE");
        for (const letter of "after") vcpu.out8(0xc300, letter.charCodeAt(0));
      `);
        // Files are opened where the configuration names them, too.
        await supervised(there, ["--restore", file], (all) => refusedAgain(all, /DEVICE_NOT_GRANTED.*\/out/));
        await supervised(
          there,
          ["--restore", file, ...ARGUMENTS(directory)],
          async (all) => {
            expect(await all.start()).toMatchObject({ restored: true });
            const again = `${directory}/again`;
            expect(await saveTo(all, again)).toMatchObject({ status: 0 });
            expect(readSnapshot(readFileSync(again)).devices).toEqual(before.devices);
            // INTA of slot 10 is up, as a new domain's Xen has to be told.
            expect(all.said("interrupt line")).toContainEqual(
              expect.objectContaining({ device: "0x10", pin: "A", asserted: true }) as unknown,
            );
            all.begin();
            await expect(all.guest.done).resolves.toMatchObject({ ok: true });
            expect(await all.end("SIGTERM")).toBe(0);
          },
          { vcpus: 1 },
        );
        expect(readFileSync(`${directory}/out`, "utf8")).toBe("beforeafter");
      });
    },
    PATIENCE_MS,
  );
});

test(
  "while a vCPU waits for an answer there is no snapshot: who takes it up would never give that",
  async () => {
    const waiting = guestProgram(`
    place(vcpu);
    vcpu.write(MEMORY + 0x14, 4, 200); // DELAY
    for (let n = 0; n < 20; n += 1) must(vcpu.read(MEMORY + 0x10, 4) === n, "late number " + n);
  `);
    await supervised(
      waiting,
      ["--device", "counter,addr=10.0"],
      async (all) => {
        await all.start();
        all.begin();
        await all.deferred();
        await expect(control(all.path("state/1/control"), "save")).rejects.toMatchObject({ code: "REQUESTS_WAITING" });
        await expect(all.guest.done).resolves.toMatchObject({ ok: true });
        await expect(control(all.path("state/1/control"), "save")).resolves.toHaveProperty("snapshot");
      },
      { vcpus: 1 },
    );
  },
  PATIENCE_MS,
);

describe("a table of another version", () => {
  const counter = (version: number, regs: string): string => `
    module.exports = {
      name: "tally",
      ident: { vendor: 0x1234, device: 0x7a11, classCode: 0x00ff00 },
      bars: { 0: { space: "mem32", size: 4096, regs: { VERSION: { at: 4, reset: ${version} }, ${regs} } } },
      attach() {},
    };`;
  const OLDER = counter(1, "MARK: { at: 8, rw: 0xffffffff }");
  const NEWER = counter(2, "MARK: { at: 0x10, rw: 0xffffffff }, MORE: { at: 0x20, rw: 0xff, reset: 3 }");
  const marking = (at: number): string => guestProgram(`place(vcpu); vcpu.write(MEMORY + ${at}, 4, 0x77);`);
  const reading = (at: number, version: number): string =>
    guestProgram(`
      must(vcpu.read(MEMORY + ${at}, 4) === 0x77, "MARK");
      must(vcpu.read(MEMORY + 4, 4) === ${version}, "VERSION");
    `);

  test.each([
    ["newer", OLDER, 8, NEWER, 0x10, 2],
    ["older", NEWER, 0x10, OLDER, 8, 1],
  ])(
    "goes on with the state where it is %s",
    async (_which, from, writtenAt, to, readAt, version) => {
      await withDirectory(async (directory) => {
        const device = `${directory}/tally.js`;
        save(device, from);
        await saved(`${directory}/saved`, marking(writtenAt), ["--device", `${device},addr=10.0`]);
        save(device, to);
        await supervised(
          reading(readAt, version),
          ["--restore", `${directory}/saved`, "--device", device],
          async (all) => {
            await all.start();
            all.begin();
            await expect(all.guest.done).resolves.toMatchObject({ ok: true });
          },
          { vcpus: 1 },
        );
      });
    },
    PATIENCE_MS,
  );

  test(
    "is refused where something would be lost, and nothing is created",
    async () => {
      await withDirectory(async (directory) => {
        const device = `${directory}/tally.js`;
        save(device, NEWER);
        await saved(`${directory}/saved`, marking(0x10), ["--device", `${device},addr=10.0`]);
        save(device, counter(3, "MARK: { at: 0x10, width: 2, rw: 0xffff }"));
        await refused(`${directory}/saved`, /STATE_INCOMPATIBLE: tally at 0000:00:10\.0/, ["--device", device]);
      });
    },
    PATIENCE_MS,
  );
});

/** `ioreqd run` with this file ends with the reason, and leaves nothing in Xen or the state directory. */
const refused = (file: string, why: RegExp, more: readonly string[] = []): Promise<void> =>
  supervised(IDLE, ["--restore", file, ...more], (all) => refusedAgain(all, why));

async function refusedAgain(all: Supervised, why: RegExp): Promise<void> {
  all.stderr = "";
  all.launch();
  expect(await all.ended()).toBe(1);
  expect(all.stderr).toMatch(why);
  expect(all.host.counters()).toMatchObject({ servers: 0, ranges: 0 });
  expect(existsSync(all.path("state/1"))).toBe(false);
}

test(
  "a file that is not as it was written is refused whole, whatever about it is another",
  async () => {
    await withDirectory(async (directory) => {
      const file = `${directory}/saved`;
      await saved(file, IDLE, ["--device", "edu,addr=10.0"]);
      const bytes = readFileSync(file);
      const flipped = (at: number): Buffer => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] as number) ^ 1;
        return changed;
      };
      const body = bytes.indexOf("\n") + 1;
      const damaged: Array<[Uint8Array | null, RegExp]> = [
        [flipped(3), /SNAPSHOT_INVALID/], // the first line
        [flipped(bytes.indexOf('"length"') + 9), /SNAPSHOT_INVALID/],
        [flipped(body - 5), /SNAPSHOT_INVALID/], // the checksum
        [flipped(body), /SNAPSHOT_INVALID/],
        [flipped((body + bytes.length) >>> 1), /SNAPSHOT_INVALID/],
        [flipped(bytes.length - 1), /SNAPSHOT_INVALID/],
        [bytes.subarray(0, bytes.length >>> 1), /SNAPSHOT_INVALID/],
        [Buffer.concat([bytes, Buffer.from("\n")]), /SNAPSHOT_INVALID/],
        [Buffer.alloc(0), /SNAPSHOT_INVALID/],
        [
          Buffer.from(bytes.toString().replace('"version":1', '"version":2')),
          /SNAPSHOT_VERSION_UNKNOWN: .* version 2, and/,
        ],
        [withRequest(bytes.subarray(body)), /REQUESTS_WAITING/],
        [null, /SNAPSHOT_UNREADABLE: .*ENOENT/],
      ];
      await supervised(IDLE, ["--restore", file], async (all) => {
        for (const [contents, why] of damaged) {
          if (contents === null) rmSync(file);
          else writeFileSync(file, contents);
          await refusedAgain(all, why);
        }
      });
    });
  },
  2 * PATIENCE_MS,
);

/** Whole, but with somebody who waits. */
function withRequest(body: Uint8Array): Buffer {
  const snapshot = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;
  const requests = [{ vcpu: 0, phase: "deferred", reply: [0, 0], progress: 0 }];
  const text = Buffer.from(JSON.stringify({ ...snapshot, requests }));
  const sha256 = createHash("sha256").update(text).digest("hex");
  return Buffer.concat([
    Buffer.from(`${JSON.stringify({ format: "ioreqd snapshot", version: 1, length: text.length, sha256 })}\n`),
    text,
  ]);
}
