// SPDX-License-Identifier: MIT
/**
 * A process that dies in the middle of a request, and the one that comes after it: before any store to the arena the
 * machine can be photographed, and the photograph is what the successor finds.
 */

import { MAX_VCPUS } from "../src/spec/xen-ioreq.js";
import { Arena, HEADER } from "../src/state/arena.js";
import { RECORDS_AT } from "../src/state/format.js";
import { CheckedHost } from "./checked-host.js";
import { must } from "./failure.js";
import { World } from "./world.js";

interface Picture {
  readonly arena: Uint8Array;
  readonly page: Uint8Array;
  readonly host: CheckedHost;
  /** The data area as it was when the transaction under way began. */
  readonly began: Uint8Array;
}

/** Photographs a machine before the `count`-th store from now on, if there are so many. */
export class Camera {
  picture: Picture | null = null;
  readonly #world: World;

  constructor(world: World, count: number) {
    this.#world = world;
    const { arena } = world;
    let left = count;
    let began = world.data();
    arena.begin = (record) => {
      began = world.data();
      Arena.prototype.begin.call(arena, record);
    };
    arena.setWord = (word, value) => {
      if (left === 0) {
        const host = new CheckedHost(
          () => {},
          () => {},
        );
        host.inherit(world.host);
        this.picture = { arena: arena.u8.slice(), page: world.slots.slice(), host, began };
      }
      left -= 1;
      Arena.prototype.setWord.call(arena, word, value);
    };
  }

  /** Back to how it is without a camera. */
  remove(): void {
    const { arena } = this.#world as { arena: Partial<Pick<Arena, "begin" | "setWord">> };
    delete arena.begin;
    delete arena.setWord;
  }
}

/** The arena of the picture, rolled back: it must be as it was when the transaction began. */
export function recovered({ arena, began }: Picture): Arena {
  const heir = Arena.open(arena.slice().buffer);
  must(heir.recover() >= 0, () => "no transaction was under way where one was");
  const data = heir.u8.subarray(heir.dataAt, heir.dataAt + heir.dataLength);
  must(Buffer.compare(data, began) === 0, () => `undone, byte ${differing(data, began)} of the data differs`);
  must(heir.recover() < 0, () => "the same transaction is undone twice");
  return heir;
}

function differing(a: Uint8Array, b: Uint8Array): number {
  return a.findIndex((byte, at) => byte !== b[at]);
}

/** The machine that goes on from the picture: every slot that waits is answered. */
export function successor(world: World, picture: Picture): World {
  const arena = recovered(picture);
  const page = picture.page.slice().buffer;
  const heir = new World(world.topology, world.clock, { arena, page, ram: world.ram, host: picture.host });
  for (let slot = 0; slot < MAX_VCPUS; slot += 1) heir.engine.resume(slot);
  heir.serveAll();
  return heir;
}

/** What a damaged state file may be used for: it is refused, or recovered without a store outside of the data. */
export function checkDamaged(buffer: ArrayBuffer): void {
  const before = new Uint8Array(buffer.slice(0));
  let arena: Arena;
  try {
    arena = Arena.open(buffer);
    arena.recover();
  } catch (error) {
    must((error as { code?: unknown }).code === "ARENA_INVALID", () => `a damaged state file: ${String(error)}`);
    return;
  }
  // The records, the data, and of the header what counts the journal and says which layout holds: these may change.
  const header = new Int32Array(before.buffer);
  for (const word of [HEADER.journalCount, HEADER.layoutChanges]) header[word] = arena.i32[word] as number;
  const kept: Array<[what: string, from: number, to: number]> = [
    ["the header", 0, RECORDS_AT * 4],
    ["journal and layout", arena.header("journalAt"), arena.dataAt],
  ];
  for (const [what, from, to] of kept) {
    const same = Buffer.compare(before.subarray(from, to), arena.u8.subarray(from, to)) === 0;
    must(same, () => `recovering a damaged state file stored into ${what}`);
  }
}
