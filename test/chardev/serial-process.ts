// SPDX-License-Identifier: MIT
/**
 * A process with a serial port and its guest, for tests that kill it: `serial-process STATE CHARDEV TOTAL HEARD LIMIT`.
 *
 * The guest sends TOTAL bytes that count, as its transmitter allows, and takes HEARD bytes that must count. With this
 * process it sends no more than LIMIT of them, so that one that is to be killed does not end before. How far
 * it came is in the state file too, and changes with the access: so a new process goes on with the very access that
 * the one before was killed in, as a vCPU would. Ends by itself once all has gone out.
 */

import { existsSync } from "node:fs";
import { sbdf } from "../../src/base/ids.js";
import { SessionRights } from "../../src/cli/session-rights.js";
import { pciSerial } from "../../src/devices/pci-serial.js";
import { GuestEvents } from "../../src/observe/guest-events.js";
import { openLog } from "../../src/observe/log.js";
import { ChardevState } from "../../src/pci/chardev-state.js";
import { planTree } from "../../src/pci/plan.js";
import { PciTree } from "../../src/pci/tree.js";
import { TYPE } from "../../src/spec/xen-ioreq.js";
import { Arena, arenaSize, HOST_RECORD, PHASE } from "../../src/state/arena.js";
import { DescriptorStore } from "../../src/xen/descriptor-store.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { mapFile } from "../../src/xen/map-file.js";
import { SdNotify } from "../../src/xen/sd-notify.js";

const [path = "", chardev = "", total = "0", heard = "0", limit = total] = process.argv.slice(2);
const PORT = 0xc000;
const LSR = PORT + 5;
const AT = sbdf(0, 0, 0x10, 0);
/** Accesses in a turn of the loop. */
const TURN = 64;

const ffi = openAdapter();
const plan = planTree([{ device: pciSerial, sbdf: AT, options: { chardev } }]);
const fresh = !existsSync(path);
const size = arenaSize(plan.dataLength + 16, plan.layout);
const { buffer } = mapFile(ffi, path, fresh ? { create: size } : {});
const arena = fresh ? Arena.create(buffer, plan.dataLength + 16, plan.layout) : Arena.open(buffer);
/** Words of the guest's: bytes sent, bytes heard, whether one was wrong. */
const guest = (arena.dataAt + ((plan.dataLength + 3) & ~3)) >>> 2;
const word = (i: number): number => arena.i32[guest + i] as number;

function host(work: () => void): void {
  arena.begin(HOST_RECORD);
  work();
  arena.commit(PHASE.committed, 0, 0);
  arena.release(HOST_RECORD);
  tree.flush();
}

arena.recover();
const tree = new PciTree(plan, arena);
const log = openLog({ verbosity: 0, format: "json" });
const supervisor = SdNotify.open(ffi);
const rights = new SessionRights({
  arriving: () => false,
  ffi,
  log,
  events: new GuestEvents(log),
  memory: {} as never,
  engine: { host } as never,
  descriptors: new DescriptorStore(supervisor),
});
if (fresh) {
  host(() => {
    tree.reset();
    tree.attach(rights);
    tree.write(TYPE.pciConfig, AT, 0x10, 4, PORT);
    tree.write(TYPE.pciConfig, AT, 0x04, 2, 1);
    tree.write(TYPE.pio, 0, PORT + 2, 1, 1);
  });
} else {
  host(() => tree.attach(rights));
}
supervisor?.send({ READY: 1 });

const toSend = Number(total);
const toHear = Number(heard);
const state = new ChardevState(arena, plan.functions[0]?.at.chardevs["chardev"] as number);

function access(): void {
  host(() => {
    const lsr = tree.read(TYPE.pio, 0, LSR, 1);
    if ((lsr & 0x20) !== 0 && word(0) < Number(limit)) {
      tree.write(TYPE.pio, 0, PORT, 1, word(0) & 0xff);
      arena.setWord(guest, word(0) + 1);
    }
    if ((lsr & 0x01) !== 0) {
      const byte = tree.read(TYPE.pio, 0, PORT, 1) & 0xff;
      if (byte !== (word(1) & 0xff)) arena.setWord(guest + 2, word(2) + 1);
      arena.setWord(guest + 1, word(1) + 1);
    }
  });
}

/** Before the first reader is there, what the guest says is nobody's. */
function turn(): void {
  for (let i = 0; i < TURN && state.peer; i += 1) access();
  if (word(0) === toSend && word(1) >= toHear && state.waiting === 0) {
    process.stdout.write(`${JSON.stringify({ sent: word(0), heard: word(1), wrong: word(2) })}\n`);
    rights.releaseAll();
    tree.detach();
    return;
  }
  setImmediate(turn);
}
turn();
